"""The network that holds all networks of a search space, each layer a mixture of its choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.superres.interpolation import Interpolation
from imaging.superres.operations import NORMALISATIONS, Operation, gain_of
from imaging.superres.quantizers import LearnedStep, add_noise, full_scale_noise, hwgq
from imaging.superres.space import Layer, SearchSpace

QUANTISATIONS = ("noise", "direct", "none")


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """How a supernet quantises and normalises.

    Attributes
    ----------
    quantisation : str
        ``"noise"``: noise of the right variance on weights and activations. ``"direct"``: quantised with learned steps of weights (LSQ).
        ``"none"``: neither.
    activations : str
        Of direct quantisation: ``"lsq"`` learned steps from the range of the first batch, or ``"hwgq"`` fixed ones, which take negative
        values for 0 as published.
    normalisation : str
        Around cells: ``"adq"`` is ``f(BN(x)) (w std(x) + c) + x``; ``"adadm"`` has ``exp(w log std(x) + c)`` instead; ``"batch"`` is
        ``f(BN(x)) + x``, ``"none"`` is ``f(x) + x``.
    """

    quantisation: str = "noise"
    activations: str = "lsq"
    normalisation: str = "adq"

    def __post_init__(self) -> None:
        for name, accepted in (("quantisation", QUANTISATIONS), ("activations", ("lsq", "hwgq")), ("normalisation", NORMALISATIONS)):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} is {getattr(self, name)!r}; accepted are {', '.join(accepted)}")


class Candidate(nn.Module):
    """One operation of a mixed layer; its weights are shared by all bit widths, which are mixed inside each convolution.

    So a layer costs as much as its operations, not as operations times bit widths. This is exact for weights or activations alone, because
    a convolution is linear in each.
    """

    seen: Tensor

    def __init__(self, layer: Layer, operation: Operation, settings: SupernetSettings) -> None:
        super().__init__()
        self.layer, self.operation, self.settings = layer, operation, settings
        parts = operation.convolutions(layer.cin, layer.cout)
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(o, i // operation.groups, *k)) for i, o, k in parts])
        for weight in self.weights:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.of_weights, self.of_inputs = nn.ModuleList(), nn.ModuleList()
        self.register_buffer("seen", torch.zeros(len(parts), dtype=torch.bool))
        self.ranged = False
        if settings.quantisation != "direct":
            return
        for weight in self.weights:
            self.of_weights.append(nn.ModuleList([LearnedStep(b, signed=True, channels=len(weight)) for b in layer.bits]))
            self.of_inputs.append(nn.ModuleList([LearnedStep(b, signed=False) for b in layer.bits]))
            for quantiser in self.of_weights[-1]:  # type: ignore[attr-defined]
                quantiser.start_from_mean(weight)

    def _mixed(self, x: Tensor, shares: Tensor, quantisers: Callable[[int], Callable[[Tensor], Tensor]]) -> Tensor:
        return sum((shares[k] * quantisers(k)(x) for k in range(len(self.layer.bits))), torch.zeros((), device=x.device))

    def _inputs(self, x: Tensor, shares: Tensor, index: int) -> Tensor:
        if not self.ranged:  # steps start from what the first batch shows
            if not bool(self.seen[index]):
                for quantiser in self.of_inputs[index]:  # type: ignore[attr-defined, union-attr]
                    quantiser.start_from_range(*torch.aminmax(x.detach()))
                self.seen[index] = True
            self.ranged = bool(self.seen.all())
        if self.settings.activations == "hwgq":
            return self._mixed(x, shares, lambda k: lambda t: hwgq(t, self.layer.bits[k]))
        return self._mixed(x, shares, lambda k: self.of_inputs[index][k])  # type: ignore[index]

    def forward(self, x: Tensor, shares: Tensor, noise: Tensor | None) -> Tensor:
        """Apply to ``(B, cin, H, W)``; ``shares`` of bit widths ``(bits,)``, ``noise`` of one level for the input."""
        if self.operation.name == "none":
            return x.new_zeros(())
        noisy, real = self.settings.quantisation == "noise", self.layer.name != "head0"
        for k, weight in enumerate(self.weights):
            w = weight
            if noisy:
                w = add_noise(weight, shares, self.layer.bits)
                if real:
                    x = add_noise(x, shares, self.layer.bits, noise if k == 0 else full_scale_noise(x))
            elif self.settings.quantisation == "direct":
                w = self._mixed(weight, shares, lambda b, k=k: self.of_weights[k][b])  # type: ignore[index,misc]
                x = self._inputs(x, shares, k) if real else x
            rows, columns = weight.shape[2:]
            x = F.conv2d(x, w, padding=(rows // 2, columns // 2), groups=self.operation.groups)
        return x


class MixedLayer(nn.Module):
    """Sum of a layer's operations, weighted by their probabilities."""

    def __init__(self, layer: Layer, settings: SupernetSettings) -> None:
        super().__init__()
        self.layer, self.settings = layer, settings
        self.candidates = nn.ModuleList([Candidate(layer, Operation.parse(o), settings) for o in layer.operations])
        self.bias = nn.Parameter(torch.zeros(layer.cout, 1, 1))

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        """Apply to ``(B, cin, H, W)`` under ``(operations, bits)`` probabilities."""
        shared = None
        if self.settings.quantisation == "noise" and self.layer.name != "head0":
            shared = full_scale_noise(x)  # one draw for all operations
        total = self.bias
        for candidate, p in zip(self.candidates, probabilities, strict=True):
            weight = p.sum()
            total = total + weight * candidate(x, p / weight.clamp_min(1e-12), shared)
        return total


class ResidualBranch(nn.Module):
    """A residual branch under one of the normalisations."""

    def __init__(self, channels: int, normalisation: str) -> None:
        super().__init__()
        self.kind = normalisation
        self.norm = nn.BatchNorm2d(channels) if normalisation != "none" else nn.Identity()
        self.slope = nn.Parameter(torch.tensor(1.5 if normalisation == "adq" else 1.0))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """``x`` plus its normalised branch."""
        found = branch(self.norm(x))
        if self.kind in {"adq", "adadm"}:
            std = x.std((1, 2, 3), keepdim=True)
            found = found * gain_of(self.kind, std, self.slope, self.offset)
        return x + found


class Supernet(nn.Module):
    """All networks of a space at once.

    ``alphas`` has a parameter ``(operations, bits)`` for each layer, zero at first; probabilities are its softmax over both.
    """

    def __init__(self, space: SearchSpace, settings: SupernetSettings | None = None) -> None:
        super().__init__()
        self.space, self.settings = space, settings or SupernetSettings()
        self.alphas = nn.ParameterDict()
        layers = [*space.layers(), *space.fixed()]
        self.index = {layer.name: k for k, layer in enumerate(layers)}
        for layer in space.layers():
            self.alphas[layer.name.replace(".", "_")] = nn.Parameter(torch.zeros(len(layer.operations), len(layer.bits)))
        self.layers = nn.ModuleList(nn.ModuleList(MixedLayer(x, self.settings) for _ in range(x.repeats)) for x in layers)
        blocks = space.cells + 1 if space.kind == "basic" and space.cells else space.cells
        self.residuals = nn.ModuleList([ResidualBranch(space.channels, self.settings.normalisation) for _ in range(blocks)])
        self.base = Interpolation(space.bands, space.scale)

    def alpha(self, layer: str) -> nn.Parameter:
        """Alphas of a layer."""
        found: nn.Parameter = self.alphas[layer.replace(".", "_")]
        return found

    def probabilities(self) -> dict[str, Tensor]:
        """By layer ``(operations, bits)``, each sums to 1."""
        return {x.name: self.alpha(x.name).flatten().softmax(0).view(len(x.operations), len(x.bits)) for x in self.space.layers()}

    def weights(self) -> list[nn.Parameter]:
        """All parameters but the alphas."""
        return [p for name, p in self.named_parameters() if not name.startswith("alphas.")]

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve ``(B, bands, H, W)`` to ``(B, bands, scale H, scale W)``."""
        p = self.probabilities()

        def apply(name: str, t: Tensor, instance: int = 0) -> Tensor:
            probabilities = p[name] if name in p else x.new_ones(1, 1)
            result: Tensor = self.layers[self.index[name]][instance](t, probabilities)  # type: ignore[index]
            return result

        features = self._basic(x, apply) if self.space.kind == "basic" else self._rfdn(x, apply)
        residual = F.pixel_shuffle(apply("upsample", features), self.space.scale)
        for k in range(self.space.tail):
            residual = residual + apply(f"tail{k}", residual)
        return F.pixel_shuffle(self.base(x), self.space.scale) + residual

    def _basic(self, x: Tensor, apply: Callable[..., Tensor]) -> Tensor:
        space = self.space
        f = F.relu(apply("head0", x))
        for k in range(1, space.head):
            f = F.relu(apply(f"head{k}", f))
        if not space.cells:
            return f

        def cell(index: int) -> Callable[[Tensor], Tensor]:
            def branch(t: Tensor) -> Tensor:
                inner = t
                for k in range(space.body):
                    inner = apply(f"body{k}", F.relu(inner) if k else inner, index)
                return inner + apply("skip", t, index)

            return branch

        def body(t: Tensor) -> Tensor:
            for k in range(space.cells):
                t = self.residuals[k](t, cell(k))
            return t

        result: Tensor = self.residuals[-1](f, body)
        return result

    def _rfdn(self, x: Tensor, apply: Callable[..., Tensor]) -> Tensor:
        f = start = F.relu(apply("first", x))
        found = []
        for index in range(self.space.cells):

            def cell(t: Tensor, index: int = index) -> Tensor:
                parts = []
                for k in range(3):
                    parts.append(F.relu(apply(f"cell{index}.distil{k}", t)))
                    t = F.relu(t + apply(f"cell{index}.body{k}", t))
                parts.append(F.relu(apply(f"cell{index}.last", t)))
                return apply(f"cell{index}.fuse", torch.cat(parts, 1))

            f = self.residuals[index](f, cell)
            found.append(f)
        smoothed = apply("smooth", F.relu(apply("collect", torch.cat(found, 1))))
        return smoothed + start
