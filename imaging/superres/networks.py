"""Networks of blueprints: float, folded, and quantisation-aware."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.superres.blueprint import INPUT, Blueprint, Node
from imaging.superres.interpolation import RADIUS, SMOOTHING, Consistency, Interpolation
from imaging.superres.quantizers import LearnedStep, cover
from imaging.superres.units import Unit

QUANTILE = 1e-4
"""Share of values at either end that the first ranges of activations leave out."""


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
        return self.quantisers[key(node.name)](found) if key(node.name) in self.quantisers else found

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


def range_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Range of a tensor without `QUANTILE` of its values at either end."""
    flat = x.flatten()[:: max(1, x.numel() // 1_000_000)].float().sort().values
    cut = int(QUANTILE * flat.numel())
    return flat[cut], flat[flat.numel() - 1 - cut]


def key(name: str) -> str:
    """A node's name as a module can have it."""
    return name.replace(".", "_")


def super_resolve(network: nn.Module, x: Tensor, margin: int, scale: int) -> Tensor:
    """Super-resolve whole images ``(B, bands, H, W)``, mirrored beyond their borders (repeated, where they are too small for that)."""
    mode = "reflect" if min(x.shape[-2:]) > margin else "replicate"
    found: Tensor = network(F.pad(x, (margin,) * 4, mode=mode))
    cut = margin * scale
    return found[..., cut:-cut, cut:-cut]
