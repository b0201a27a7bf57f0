"""Regularisers with explicit energy, gradient, Hessian products and mixed derivatives in closed form."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from deepinv.optim import Prior
from torch import Tensor

from imaging.bilevel.operators import Differences, FilterBank
from imaging.bilevel.potentials import slopes, smoothed_absolute


class Regularizer(Prior):  # type: ignore[misc]
    r"""An energy :math:`R(x, \theta)` of images, with parameters in one vector; a deepinv prior called with them as its last argument.

    Images are ``(B, C, H, W)``, ``theta`` is ``(p,)``; energies are per image, ``(B,)``, and not divided by its pixels.
    """

    size: int
    """Number of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.explicit_prior = True

    def fn(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Energy of each image, ``(B,)``."""
        return self.energy(x, theta)

    @abstractmethod
    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image, ``(B,)``."""

    @abstractmethod
    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient with respect to the images, of their shape."""

    @abstractmethod
    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative at ``x`` applied to ``v``."""

    @abstractmethod
    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        r"""Gradient of :math:`\sum_b \langle \nabla_x R(x_b, \theta), q_b \rangle` with respect to the parameters, ``(p,)``."""

    @abstractmethod
    def curvature(self, theta: Tensor) -> float:
        """An upper bound on the largest eigenvalue of the Hessian, for images of any size and content."""


class TotalVariation(Regularizer):
    r"""Smoothed total variation, :math:`e^{\theta_0} \sum_i \varphi_\nu(\cdot)` with :math:`\nu = e^{\theta_1}`.

    Parameters
    ----------
    isotropic : bool
        Of the length of the gradient, as Rudin, Osher and Fatemi (1992) have it; otherwise of each difference by itself.
    """

    size = 2

    def __init__(self, *, isotropic: bool = True) -> None:
        super().__init__()
        self.isotropic, self.analysis = isotropic, Differences()

    def _lengths(self, u: Tensor) -> Tensor:
        """What the potential is charged for, ``(B, 1, C, H, W)`` or ``(B, 2, C, H, W)``."""
        pairs = u.unflatten(1, (2, -1))
        length: Tensor = torch.linalg.vector_norm(pairs, dim=1, keepdim=True) if self.isotropic else pairs
        return length

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        found: Tensor = theta[0].exp() * smoothed_absolute(self._lengths(self.analysis.forward(x)), theta[1].exp()).sum((1, 2, 3, 4))
        return found

    def _flux(self, u: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs of differences, the root of their squares and that of the smoothing, and the smoothing."""
        pairs, nu = u.unflatten(1, (2, -1)), theta[1].exp()
        squares = pairs.square().sum(1, keepdim=True) if self.isotropic else pairs.square()
        return pairs, torch.sqrt(squares + nu**2), nu

    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient with respect to the images."""
        pairs, root, _ = self._flux(self.analysis.forward(x), theta)
        found: Tensor = theta[0].exp() * self.analysis.adjoint((pairs / root).flatten(1, 2), x.shape)
        return found

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative applied to ``v``."""
        pairs, root, _ = self._flux(self.analysis.forward(x), theta)
        moved = self.analysis.forward(v).unflatten(1, (2, -1))
        along = (pairs * moved).sum(1, keepdim=True) if self.isotropic else pairs * moved
        changed = moved / root - pairs * along / root**3
        return theta[0].exp() * self.analysis.adjoint(changed.flatten(1, 2), x.shape)

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the products of gradients and ``q`` with respect to the two parameters."""
        pairs, root, nu = self._flux(self.analysis.forward(x), theta)
        moved = self.analysis.forward(q).unflatten(1, (2, -1))
        weight = (pairs / root * moved).sum()
        smoothing = -(nu**2 * pairs / root**3 * moved).sum()
        return theta[0].exp() * torch.stack([weight, smoothing])

    def curvature(self, theta: Tensor) -> float:
        """Weight over smoothing times the squared norm of the differences."""
        return float((theta[0] - theta[1]).exp()) * self.analysis.squared_norm()


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
    """

    def __init__(self, filters: int = 48, kernel: int = 7, channels: int = 1, border: str = "valid") -> None:
        super().__init__()
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
        weight = (theta[0] + theta[1 : 1 + k]).exp().reshape(k, 1, 1)
        return FilterBank(centred / length, self.border), weight, theta[1 + k : 1 + 2 * k].exp().reshape(k, 1, 1), length

    def kernels(self, theta: Tensor) -> Tensor:
        """The filters as they act, ``(K, C, k, k)``: zero mean, unit length."""
        return self._split(theta)[0].filters

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        bank, weight, nu, _ = self._split(theta)
        return (weight * smoothed_absolute(bank.forward(x), nu)).sum((1, 2, 3))

    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient with respect to the images."""
        bank, weight, nu, _ = self._split(theta)
        return bank.adjoint(weight * slopes(bank.forward(x), nu).first, x.shape)

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative applied to ``v``."""
        bank, weight, nu, _ = self._split(theta)
        return bank.adjoint(weight * slopes(bank.forward(x), nu).second * bank.forward(v), x.shape)

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
