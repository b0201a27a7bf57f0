"""Networks of blueprints: float, folded, and quantisation-aware."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.superres.blueprint import INPUT, Blueprint, Node
from imaging.superres.interpolation import RADIUS, SMOOTHING, Consistency, Interpolation
from imaging.superres.normalisation import gain_of
from imaging.superres.quantizers import LearnedStep, exactly_summed, input_levels, part_of

MOMENTUM = 0.01
QUANTILE = 1e-4
"""Share of values at either end that the first ranges of activations leave out."""


class RunningGain(nn.Module):
    """Scale by a function of the running standard deviation of the cell's input: what ADQ and AdaDM do, without looking at the tile."""

    std: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("std", torch.ones(()))
        self.slope = nn.Parameter(torch.tensor(1.5 if kind == "adq" else 1.0))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The scale, after a look at the input in training."""
        if self.training:
            with torch.no_grad():
                self.std.lerp_(x.float().std((1, 2, 3)).mean(), MOMENTUM)
        return self.value()

    def value(self) -> Tensor:
        """The scale."""
        return gain_of(self.kind, self.std, self.slope, self.offset)


class Unit(nn.Module):
    """A convolution of a blueprint with what belongs to it: normalisation and gain until they are folded, quantisers afterwards."""

    mask: Tensor

    def __init__(self, node: Node, plan: Blueprint) -> None:
        super().__init__()
        self.node = node
        pads = (node.kernel[0] // 2, node.kernel[1] // 2)
        self.conv = nn.Conv2d(node.cin, node.cout, node.kernel, padding=pads, groups=node.groups)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu" if node.relu else "linear")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        if node.taps < 1:
            self.register_buffer("mask", deconvolution_mask(node.kernel[0], plan.scale).repeat(plan.bands, 1, 1, 1))
        self.norm = nn.BatchNorm2d(node.cout) if node.norm else None
        self.gain = RunningGain(plan.normalisation) if node.gain else None
        self.of_weight: LearnedStep | None = None
        self.of_input: LearnedStep | None = None
        self.exact = False

    def taps(self) -> Tensor:
        """Weights in float, 0 outside the free taps."""
        return self.conv.weight * self.mask if self.node.taps < 1 else self.conv.weight

    def weight(self) -> Tensor:
        """Weights, quantised where they are."""
        return self.taps() if self.of_weight is None else self.of_weight(self.taps())

    def forward(self, x: Tensor, gained: Tensor | None, given: LearnedStep | None = None, made: LearnedStep | None = None) -> Tensor:
        """Apply; ``gained`` is the input of the cell, for the gain, ``given`` and ``made`` are the quantisers of input and output."""
        if self.of_input is not None:
            x, given = self.of_input(x), self.of_input
        if self.of_weight is not None and given is not None and not self.training:
            return self._in_whole_numbers(x, given, self.of_weight, made)
        weight, bias = self.weight(), self.conv.bias
        if self.exact and not self.training:
            x, (weight, bias) = input_levels(x), self.exact_taps()
        x = F.conv2d(x, weight, bias, padding=self.conv.padding, groups=self.node.groups)
        if self.norm is not None:
            x = self.norm(x)
        if self.gain is not None and gained is not None:
            x = x * self.gain(gained)
        return x

    def _in_whole_numbers(self, x: Tensor, given: LearnedStep, of_weight: LearnedStep, made: LearnedStep | None) -> Tensor:
        """The convolution as integer kernels do it: sums of whole numbers, which float32 holds exactly, in whatever order they are added.

        In float, the order decides where a sum beside a rounding tie goes, and later layers multiply such differences. For the same reason
        the sums become levels of the output by one factor, as in the kernels, not by one step after the other.
        """
        joint = given.step * of_weight.step
        whole = F.conv2d(
            (x / given.step).round(), of_weight.levels(self.taps()), self.whole_bias(given, of_weight).float(), padding=self.conv.padding,
            groups=self.node.groups,
        )  # fmt: skip
        if made is None:
            return whole * joint.view(-1, 1, 1)
        levels = (whole * (joint / made.step).view(-1, 1, 1)).round().clamp(made.low - made.zero, made.high - made.zero)
        return levels * made.step

    def exact_taps(self) -> tuple[Tensor, Tensor]:
        """Weights and bias of the first layer of a quantised network, in float, whose sums are exact."""
        assert self.conv.bias is not None
        return exactly_summed(self.taps(), self.conv.bias)

    def whole_bias(self, given: LearnedStep, of_weight: LearnedStep) -> Tensor:
        """The bias in units of the sums, whole numbers in float64."""
        assert self.conv.bias is not None
        return (self.conv.bias.double() / (given.step.double() * of_weight.step.double())).round().clamp(-(2**31), 2**31 - 1)

    @torch.no_grad()
    def fold(self) -> None:
        """Put normalisation and gain into the weights."""
        bias = self.conv.bias
        assert bias is not None
        if self.norm is not None:
            variance, mean = self.norm.running_var, self.norm.running_mean
            assert variance is not None
            assert mean is not None
            factor = self.norm.weight / (variance + self.norm.eps).sqrt()
            self.conv.weight.mul_(factor.view(-1, 1, 1, 1))
            bias.copy_((bias - mean) * factor + self.norm.bias)
            self.norm = None
        if self.gain is not None:
            value = self.gain.value()
            self.conv.weight.mul_(value)
            bias.mul_(value)
            self.gain = None

    def attach_quantisers(self, given: int) -> None:
        """Attach a quantiser of the weights and, where the input has more bits, one of the input.

        Parameters
        ----------
        given : int
            Bits of the input.
        """
        device, bits = self.conv.weight.device, self.node.bits
        self.of_weight = LearnedStep(bits, signed=True, channels=self.node.cout).to(device)
        if bits < given:
            self.of_input = LearnedStep(bits, signed=False).to(device)

    def start_quantisers(self, given: tuple[Tensor, Tensor] | None) -> None:
        """Set the steps by the weights, and by the range of the input."""
        weight = self.conv.weight.detach()
        if self.of_weight is not None and self.node.bits == 8:
            self.of_weight.start_from_range(weight.flatten(1).amin(1), weight.flatten(1).amax(1))
        elif self.of_weight is not None:
            self.of_weight.start_from_mean(weight)
        if self.of_input is not None and given is not None:
            cover(self.of_input, given)


class Network(nn.Module):
    """A super-resolution network: bicubic interpolation, plus what the blueprint's nodes find, with the input's low frequencies.

    Parameters
    ----------
    plan : Blueprint
        What it is made of.

    Notes
    -----
    Three states follow each other: as made; folded (`fold`), where each convolution is one; quantisation-aware (`quantise`), where tensors
    between the ends are on the levels that the integer model has.
    """

    def __init__(self, plan: Blueprint) -> None:
        super().__init__()
        self.plan = plan
        self.units = nn.ModuleDict({key(n.name): Unit(n, plan) for n in plan.nodes if n.kind == "conv"})
        self.quantisers = nn.ModuleDict()
        self.base = Interpolation(plan.bands, plan.scale)
        self.consistency = Consistency(plan.bands, plan.scale)
        with torch.no_grad():
            self.unit(next(n.name for n in reversed(plan.nodes) if n.kind == "conv")).conv.weight.mul_(0.1)

    def unit(self, name: str) -> Unit:
        """Convolution of a node."""
        found: Unit = self.units[key(name)]  # type: ignore[assignment]
        return found

    @property
    def margin(self) -> int:
        """Coarse pixels around one that its fine pixels depend on."""
        return max(self.plan.margin(), RADIUS) + SMOOTHING

    @property
    def quantised(self) -> bool:
        """Whether it is quantisation-aware."""
        return len(self.quantisers) > 0

    def quantiser_of(self, name: str) -> LearnedStep | None:
        """Quantiser of a node's output, None where it is float; shuffles pass levels on."""
        if key(name) in self.quantisers:
            found: LearnedStep = self.quantisers[key(name)]  # type: ignore[assignment]
            return found
        node = next((n for n in self.plan.nodes if n.name == name), None)
        return self.quantiser_of(node.inputs[0]) if node is not None and node.kind == "shuffle" else None

    def residual(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        """What is added to the interpolation, ``(B, bands * scale**2, H, W)``; outputs of all nodes are left in ``seen``."""
        values = {INPUT: x}
        for node in self.plan.nodes:
            values[node.name] = self._value(node, values)
            if seen is not None:
                seen[node.name] = values[node.name]
        return values[self.plan.nodes[-1].name]

    def _value(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        given = [values[i] for i in node.inputs]
        if node.kind == "conv":
            gained = values[node.gain] if node.gain else None
            found: Tensor = self.unit(node.name)(given[0], gained, self.quantiser_of(node.inputs[0]), self.quantiser_of(node.name))
        elif node.kind == "add":
            found = given[0] + given[1]
        elif node.kind == "concat":
            found = torch.cat(given, 1)
        elif node.kind == "gate":
            found = given[0] * (given[1].sigmoid() - 0.5)
        elif node.kind == "shuffle":
            return F.pixel_shuffle(given[0], self.plan.scale)
        else:
            return F.pixel_unshuffle(given[0], self.plan.scale)
        found = F.relu(found) if node.relu else found
        if key(node.name) in self.quantisers:
            found = self.quantisers[key(node.name)](found)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve ``(B, bands, H, W)`` to ``(B, bands, scale H, scale W)``; `margin` pixels from the border it depends on padding."""
        fine = self.base(x) + self.residual(x)
        return F.pixel_shuffle(self.consistency(x, fine), self.plan.scale)

    def fold(self) -> Network:
        """Put normalisations and gains into the convolutions; returns itself."""
        for node in self.plan.nodes:
            if node.kind == "conv":
                self.unit(node.name).fold()
        return self

    @torch.no_grad()
    def quantise(self, samples: Iterable[Tensor]) -> Network:
        """Fold, and attach quantisers whose ranges cover what samples show; returns itself.

        Parameters
        ----------
        samples : iterable of Tensor
            Images ``(B, bands, H, W)`` like those to come, bright ones included.
        """
        self.fold().eval()
        ranges: dict[str, tuple[Tensor, Tensor]] = {}
        for sample in samples:
            seen: dict[str, Tensor] = {}
            self.residual(sample, seen)
            for name, value in seen.items():
                least, most = range_of(value)
                old = ranges.get(name, (least, most))
                ranges[name] = (torch.minimum(old[0], least), torch.maximum(old[1], most))
        self.attach_quantisers()
        for node in self._quantised_nodes():
            cover(self.quantisers[key(node.name)], ranges[node.name])  # type: ignore[arg-type]
            if node.kind == "conv":
                self.unit(node.name).start_quantisers(ranges.get(node.inputs[0]))
        return self.train()

    def _quantised_nodes(self) -> list[Node]:
        return [n for n in self.plan.nodes if n.kind not in {"shuffle", "unshuffle"}]

    def attach_quantisers(self) -> None:
        """Make a folded network quantisation-aware, all steps at 1."""
        device = self.base.weight.device
        for node in self._quantised_nodes():
            self.quantisers[key(node.name)] = LearnedStep(self.plan.bits_of(node.name), signed=False).to(device)
            if node is self.plan.nodes[0]:
                self.unit(node.name).exact = True
            elif node.kind == "conv":
                source = self.quantiser_of(node.inputs[0])
                self.unit(node.name).attach_quantisers(source.bits if source is not None else 8)


def cover(quantiser: LearnedStep, limits: tuple[Tensor, Tensor]) -> None:
    """Set the step of an activation's quantiser by its range: all of it with 8 bits, the inner part with fewer."""
    quantiser.start_from_range(*(part_of(quantiser.bits) * limit for limit in limits))


def range_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Range of a tensor without `QUANTILE` of its values at either end."""
    flat = x.flatten()[:: max(1, x.numel() // 1_000_000)].float().sort().values
    cut = int(QUANTILE * flat.numel())
    return flat[cut], flat[flat.numel() - 1 - cut]


def key(name: str) -> str:
    """A node's name as a module can have it."""
    return name.replace(".", "_")


def deconvolution_mask(side: int, scale: int) -> Tensor:
    """Taps ``(scale**2, 1, side, side)`` of the convolution that a 9 x 9 deconvolution equals: 81 of them are 1."""
    centre = (scale - 1) / 2
    offsets = torch.arange(side) - side // 2
    near = torch.stack([(scale * offsets + centre - p - (0 if scale % 2 else 0.5)).abs() <= 4 for p in range(scale)]).float()
    return (near[:, None, :, None] * near[None, :, None, :]).reshape(scale**2, 1, side, side)


def super_resolve(network: nn.Module, x: Tensor, margin: int, scale: int) -> Tensor:
    """Super-resolve whole images ``(B, bands, H, W)``, mirrored beyond their borders (repeated, where they are too small for that)."""
    mode = "reflect" if min(x.shape[-2:]) > margin else "replicate"
    found: Tensor = network(F.pad(x, (margin,) * 4, mode=mode))
    cut = margin * scale
    return found[..., cut:-cut, cut:-cut]
