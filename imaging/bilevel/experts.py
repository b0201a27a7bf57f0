"""Fields of experts: many filters, each with a convex potential of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imaging.bilevel.operators import FilterBank
from imaging.bilevel.potentials import piecewise, slopes, smoothed_absolute, smoothed_curvature, smoothed_slope
from imaging.bilevel.regularizers import Regularizer


class FieldOfExperts(Regularizer):
    r"""Convex field of experts, :math:`e^{\theta_0} \sum_k e^{w_k} \sum_i \varphi_{\nu_k}((c_k * x)_i)` (Roth and Black 2005).

    The parameters are :math:`\theta_0`, the K weights :math:`w_k`, the logarithms of the K smoothings :math:`\nu_k`, and the filters. A
    filter is taken without its mean and normalised to length 1, so that weights and filters do not say the same twice; derivatives go
    through both.

    Parameters
    ----------
    filters : int
        K.
    kernel : int
        Side of a filter, odd.
    channels : int
        Of the images.
    border : str
        See `FilterBank`.
    exponent : float
        The weights are proportional to this power of the noise.
    """

    def __init__(self, filters: int = 48, kernel: int = 7, channels: int = 1, border: str = "valid", exponent: float = 1.0) -> None:
        super().__init__()
        self.exponent = exponent
        self.filters, self.shape, self.border = filters, torch.Size((filters, channels, kernel, kernel)), border
        self.size = 1 + 2 * filters + self.shape.numel()

    def start(self, seed: int = 0, weight: float = -3.0, smoothing: float = -3.0) -> Tensor:
        """Parameters to learn from: random filters, weights and smoothings the same for all; float32."""
        raw = torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))
        return torch.cat([torch.tensor([weight]), torch.zeros(self.filters), torch.full((self.filters,), smoothing), raw.flatten()])

    def _split(self, theta: Tensor) -> tuple[FilterBank, Tensor, Tensor, Tensor]:
        """Filters, weights and smoothings ``(K, 1, 1)``, and the lengths ``(K, 1, 1, 1)`` that raw filters were divided by."""
        k = self.filters
        raw = theta[1 + 2 * k :].reshape(self.shape)
        centred = raw - raw.mean((2, 3), keepdim=True)
        length = centred.square().sum((1, 2, 3), keepdim=True).sqrt()
        weight = (theta[0] + theta[1 : 1 + k] + self.exponent * self.relative_noise).exp().reshape(k, 1, 1)
        nu = (theta[1 + k : 1 + 2 * k] + self.relative_noise).exp().reshape(k, 1, 1)
        return FilterBank(centred / length, self.border), weight, nu, length

    def groups(self) -> dict[str, slice]:
        """Weights, smoothings and filters."""
        k = self.filters
        return {"weights": slice(0, 1 + k), "smoothings": slice(1 + k, 1 + 2 * k), "filters": slice(1 + 2 * k, self.size)}

    def kernels(self, theta: Tensor) -> Tensor:
        """The filters as they act, ``(K, C, k, k)``: zero mean, unit length."""
        return self._split(theta)[0].filters

    def scales(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and smoothings of the filters at the noise, each ``(K,)``."""
        _, weight, nu, _ = self._split(theta)
        return weight.flatten(), nu.flatten()

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        bank, weight, nu, _ = self._split(theta)
        return (weight * smoothed_absolute(bank.forward(x), nu)).sum((1, 2, 3))

    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient with respect to the images."""
        bank, weight, nu, _ = self._split(theta)
        return bank.adjoint(piecewise(smoothed_slope, bank.forward(x), nu, weight), x.shape)

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative applied to ``v``."""
        bank, weight, nu, _ = self._split(theta)
        return bank.adjoint(piecewise(smoothed_curvature, bank.forward(x), nu, weight) * bank.forward(v), x.shape)

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the products of gradients and ``q`` with respect to the parameters."""
        bank, weight, nu, length = self._split(theta)
        slope, moved = slopes(bank.forward(x), nu), bank.forward(q)
        by_weight = (weight * slope.first * moved).sum((0, 2, 3))
        by_smoothing = (weight * slope.smoothing * moved).sum((0, 2, 3))
        by_filter = bank.filter_gradient(q, weight * slope.first) + bank.filter_gradient(x, weight * slope.second * moved)
        radial = (by_filter * bank.filters).sum((1, 2, 3), keepdim=True)
        by_raw = (by_filter - radial * bank.filters) / length
        by_raw = by_raw - by_raw.mean((2, 3), keepdim=True)
        return torch.cat([by_weight.sum().reshape(1), by_weight, by_smoothing, by_raw.flatten()])

    def curvature(self, theta: Tensor) -> float:
        """Squared norm of the bank of filters, each scaled by the root of its weight over its smoothing."""
        bank, weight, nu, _ = self._split(theta)
        return FilterBank(bank.filters * (weight / nu).sqrt()[..., None], self.border).squared_norm()

    def hessian_diagonal(self, x: Tensor, theta: Tensor) -> Tensor | None:
        """Diagonal of the second derivative, by the filters' squares; None for borders that repeat pixels within one filter's reach."""
        if self.border not in ("valid", "zero"):
            return None
        bank, weight, nu, _ = self._split(theta)
        return FilterBank(bank.filters.square(), self.border).adjoint(weight * slopes(bank.forward(x), nu).second, x.shape)
