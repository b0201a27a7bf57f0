"""Convex and weakly convex ridge regularisers: filters in several layers, one learned potential."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from imaging.bilevel.operators import Analysis, FilterBank
from imaging.bilevel.regularizers import Regularizer
from imaging.bilevel.splines import SplinePotential


@dataclass(frozen=True)
class MultiConvolution(Analysis):
    """Correlations in turn, without borders, by layers ``(K_i, K_{i-1}, k_i, k_i)`` of odd sides: together one bank of larger filters."""

    layers: Sequence[Tensor]

    def forward(self, x: Tensor) -> Tensor:
        """Responses of images, smaller by the filters."""
        for layer in self.layers:
            x = F.conv2d(x, layer)
        return x

    def adjoint(self, u: Tensor, shape: torch.Size) -> Tensor:
        """Images of responses."""
        for layer in reversed(self.layers):
            u = F.conv_transpose2d(u, layer)
        return u

    def combined(self) -> Tensor:
        """The one filter bank that does the same, ``(K, C, k, k)``; differentiable."""
        found = self.layers[0]
        for layer in self.layers[1:]:
            reach = layer.shape[2] - 1
            found = F.conv2d(F.pad(found, (reach,) * 4).transpose(0, 1), layer.flip((2, 3))).transpose(0, 1)
        return found

    def squared_norm(self) -> float:
        """The bound of the combined filters."""
        return FilterBank(self.combined().detach()).squared_norm()

    def layer_gradients(self, x: Tensor, u: Tensor) -> list[Tensor]:
        """Gradient of ``<forward(x), u>`` with respect to each layer."""
        before, found = [x], []
        for layer in self.layers[:-1]:
            before.append(F.conv2d(before[-1], layer))
        for layer, seen in zip(reversed(self.layers), reversed(before), strict=True):
            found.append(conv2d_weight(seen, list(layer.shape), u))  # type: ignore[no-untyped-call]
            u = F.conv_transpose2d(u, layer)
        return found[::-1]


@dataclass(frozen=True)
class _Parts:
    """What the parameters stand for: layers, scale of each channel ``(K, 1, 1)``, potential."""

    analysis: MultiConvolution
    scale: Tensor
    profile: SplinePotential


class RidgeRegularizer(Regularizer):
    r"""Ridge regulariser :math:`\sum_k \alpha_k^{-2} \sum_i \varphi(\alpha_k (W_k x)_i)` (Goujon et al. 2023, 2024).

    The filters W come in several layers, those of the first without their mean, all together divided by a bound on their norm, through
    which derivatives go. The second derivative of the one potential is a spline between ``-weak`` and ``steepest``; so is the Hessian,
    whatever the parameters: ``weak = 0`` is a convex regulariser (CRR), ``0 < weak < 1`` one that a denoising energy can still
    be convex with (WCRR). The scales follow the noise, :math:`\log \alpha_k = a_k - l + b_k l + c_k l^2` with
    :math:`l = \log(\sigma / \sigma_0)`: with b = c = 0 noise and image are scaled alike, so that the regulariser's weight is
    proportional to the noise.

    Parameters
    ----------
    weak : float
        Weak convexity, below 1.
    steepest : float
        Largest curvature.
    widths : sequence of int
        Channels after each layer.
    kernel : int
        Side of each layer's filters, odd.
    nodes, reach : int, float
        Of the spline, and up to which value they go.
    channels : int
        Of the images.
    """

    def __init__(
        self, weak: float = 0.0, steepest: float = 60.0, *, widths: Sequence[int] = (8, 48), kernel: int = 5, nodes: int = 48,
        reach: float = 4.0, channels: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 0 <= weak < 1 or steepest <= 0:
            raise ValueError(f"weak convexity {weak} and curvature {steepest}; accepted are numbers from 0 to below 1, and above 0")
        self.weak_convexity, self.steepest, self.nodes, self.step = weak, steepest, nodes, reach / nodes
        before = [channels, *widths[:-1]]
        self.shapes = [torch.Size((k, c, kernel, kernel)) for k, c in zip(widths, before, strict=True)]
        self.filters = widths[-1]
        self.sizes = [*(s.numel() for s in self.shapes), 3 * self.filters, nodes]
        self.size = sum(self.sizes)
        self._known: tuple[Tensor, int, float, _Parts] | None = None

    def start(self, seed: int = 0, height: float = 0.5, smoothing: float = 0.1, scale: float = 10.0) -> Tensor:
        """Parameters to learn from: random filters, a smoothed absolute value of slope ``height`` for potential; float32."""
        generator = torch.Generator().manual_seed(seed)
        layers = [torch.randn(s, generator=generator).flatten() / s[1:].numel() ** 0.5 for s in self.shapes]
        s = self.step * torch.arange(self.nodes)
        wanted = (height * smoothing**2 / (s.square() + smoothing**2) ** 1.5).clamp(0.01 * height, 0.9 * self.steepest)
        raw = torch.logit((wanted + self.weak_convexity) / (self.steepest + self.weak_convexity))
        scales = torch.zeros(3, self.filters)
        scales[0] = torch.tensor(scale).log()
        return torch.cat([*layers, scales.flatten(), raw])

    def groups(self) -> dict[str, slice]:
        """Where filters, scales and potential lie among the parameters."""
        ends = [0, *torch.tensor([sum(self.sizes[:-2]), *self.sizes[-2:]]).cumsum(0).tolist()]
        return {n: slice(a, b) for n, a, b in zip(("filters", "scales", "potential"), ends[:-1], ends[1:], strict=True)}

    def _parts(self, theta: Tensor) -> _Parts:
        *raw, scales, potential = theta.split(self.sizes)
        layers = [r.reshape(s) for r, s in zip(raw, self.shapes, strict=True)]
        layers[0] = layers[0] - layers[0].mean((2, 3), keepdim=True)
        bound = _squared_norm(MultiConvolution(layers).combined())
        layers[-1] = layers[-1] / bound.sqrt()
        offset, slope, bend = scales.reshape(3, self.filters, 1, 1)
        place = self.relative_noise
        coefficients = (self.steepest + self.weak_convexity) * torch.sigmoid(potential) - self.weak_convexity
        scale = (offset + (slope - 1) * place + bend * place**2).exp()
        layers = [layer.contiguous(memory_format=torch.channels_last) for layer in layers]  # faster on a CPU
        return _Parts(MultiConvolution(layers), scale, SplinePotential(coefficients, self.step))

    @torch.no_grad()
    def parts(self, theta: Tensor) -> _Parts:
        """Filters, scales and potential, kept until the parameters or the noise change."""
        known = self._known
        if known is None or known[0] is not theta or known[1:3] != (theta._version, self.noise):
            self._known = known = (theta, theta._version, self.noise, self._parts(theta))
        return known[3]

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        p = self.parts(theta) if not theta.requires_grad else self._parts(theta)
        return (p.profile.value(p.scale * p.analysis.forward(x)) / p.scale.square()).sum((1, 2, 3))

    def grad(self, x: Tensor, theta: Tensor, *args: object, **kwargs: object) -> Tensor:
        """Gradient with respect to the images."""
        p = self.parts(theta)
        return p.analysis.adjoint(p.profile.first(p.analysis.forward(x).mul_(p.scale)).div_(p.scale), x.shape)

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative applied to ``v``."""
        p = self.parts(theta)
        return p.analysis.adjoint(p.profile.second(p.analysis.forward(x).mul_(p.scale)).mul_(p.analysis.forward(v)), x.shape)

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the products of gradients and ``q`` with respect to the parameters."""
        p = self.parts(theta)
        s, moved = p.scale * p.analysis.forward(x), p.analysis.forward(q)
        first, second = p.profile.first(s), p.profile.second(s)
        by_scale = (moved * (second * s - first) / p.scale).sum((0, 2, 3))
        pairs = zip(p.analysis.layer_gradients(q, first / p.scale), p.analysis.layer_gradients(x, second * moved), strict=True)
        by_layer = [a + b for a, b in pairs]
        moments = p.profile.moments(s, moved / p.scale)
        with torch.enable_grad():
            own = theta.detach().requires_grad_()
            parts = self._parts(own)
            total = parts.profile.paired(moments) + (parts.scale.log().flatten() * by_scale).sum()
            total = total + sum(((layer * g).sum() for layer, g in zip(parts.analysis.layers, by_layer, strict=True)), torch.zeros(()))
            return torch.autograd.grad(total, own)[0]

    def curvature(self, theta: Tensor) -> float:
        """Largest coefficient of the potential's second derivative; the filters' norm is at most 1."""
        return float(self.parts(theta).profile.coefficients.max().clamp(min=0))

    def hessian_diagonal(self, x: Tensor, theta: Tensor) -> Tensor:
        """Diagonal of the second derivative, by the squares of the combined filters."""
        p = self.parts(theta)
        squares = FilterBank(p.analysis.combined().square())
        return squares.adjoint(p.profile.second(p.scale * p.analysis.forward(x)), x.shape)


def _squared_norm(filters: Tensor) -> Tensor:
    """`FilterBank.squared_norm` of filters without a border, differentiable."""
    size = filters.shape[2]
    points = 16 * size
    power = torch.fft.rfft2(filters, (points, points)).abs().square().sum((0, 1))
    found: Tensor = power.max() / math.cos(math.pi * (size - 1) / points) ** 2
    return found
