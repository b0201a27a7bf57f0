"""Regularisers with explicit energy, gradient, Hessian products and mixed derivatives in closed form."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from deepinv.optim import Prior
from torch import Tensor
from torch.nn import functional as F

from imaging.bilevel.operators import Differences
from imaging.bilevel.potentials import smoothed_absolute

REFERENCE = 25 / 255
"""Standard deviation of the noise that parameters are given for."""


class Constants(NamedTuple):
    """Lipschitz constants of an energy's Hessian and mixed derivative with respect to the images, in Euclidean and spectral norms.

    ``norm`` is that of each image's mixed derivative, ``(B,)``.
    """

    hessian: float
    mixed: float
    norm: Tensor


class Regularizer(Prior):  # type: ignore[misc]
    r"""An energy :math:`R(x, \theta)` of images, with parameters in one vector; a deepinv prior called with them as its last argument.

    Images are ``(B, C, H, W)``, ``theta`` is ``(p,)``; energies are per image, ``(B,)``, and not divided by its pixels.
    """

    size: int
    """Number of parameters."""
    weak_convexity: float = 0.0
    """Lower bound on the Hessian's eigenvalues, with the opposite sign: 0 for a convex energy."""
    noise: float = REFERENCE
    """Standard deviation of the noise: what the weight and the scale of the responses are proportional to."""
    preconditioned: bool = False
    """Whether linear solves with the Hessian are preconditioned by its diagonal, where that is known; can be set for one object."""

    def __init__(self) -> None:
        super().__init__()
        self.explicit_prior = True

    def fn(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Energy of each image, ``(B,)``."""
        return self.energy(x, theta)

    exponent: float = 1.0
    """Power of the noise that the weight is proportional to."""

    @property
    def relative_noise(self) -> float:
        """Logarithm of the noise over that of `REFERENCE`."""
        return math.log(self.noise / REFERENCE)

    @abstractmethod
    def start(self) -> Tensor:
        """Parameters to learn from; float32."""

    def groups(self) -> dict[str, slice]:
        """Parts of the parameters that may have learning rates of their own."""
        return {}

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

    def hessian_diagonal(self, x: Tensor, theta: Tensor) -> Tensor | None:
        """Diagonal of the second derivative at ``x``, of its shape, or None where it is not known."""
        return None

    def constants(self, x: Tensor, theta: Tensor) -> Constants | None:
        """What rigorous bounds on hypergradients are made of, or None where it is not known."""
        return None


class TotalVariation(Regularizer):
    r"""Smoothed total variation, :math:`e^{\theta_0} \sum_i \varphi_\nu(\cdot)` with :math:`\nu = e^{\theta_1}`.

    Parameters
    ----------
    isotropic : bool
        Of the length of the gradient, as Rudin, Osher and Fatemi (1992) have it; otherwise of each difference by itself.
    exponent : float
        The weight is proportional to this power of the noise.
    """

    size = 2
    preconditioned = True

    def __init__(self, *, isotropic: bool = True, exponent: float = 1.0) -> None:
        super().__init__()
        self.isotropic, self.exponent, self.analysis = isotropic, exponent, Differences()

    def _settings(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and smoothing at the noise."""
        return (theta[0] + self.exponent * self.relative_noise).exp(), (theta[1] + self.relative_noise).exp()

    def start(self, weight: float = -2.7, smoothing: float = -4.5) -> Tensor:
        """Parameters to learn from; float32."""
        return torch.tensor([weight, smoothing])

    def groups(self) -> dict[str, slice]:
        """Weight and smoothing."""
        return {"weight": slice(0, 1), "smoothing": slice(1, 2)}

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        weight, nu = self._settings(theta)
        pairs = self.analysis.forward(x).unflatten(1, (2, -1))
        lengths: Tensor = torch.linalg.vector_norm(pairs, dim=1, keepdim=True) if self.isotropic else pairs
        return weight * smoothed_absolute(lengths, nu).sum((1, 2, 3, 4))

    def _flux(self, u: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pairs of differences, the root of their squares and that of the smoothing, the smoothing, and the weight."""
        weight, nu = self._settings(theta)
        pairs = u.unflatten(1, (2, -1))
        squares = pairs.square().sum(1, keepdim=True) if self.isotropic else pairs.square()
        return pairs, torch.sqrt(squares + nu**2), nu, weight

    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient with respect to the images."""
        pairs, root, _, weight = self._flux(self.analysis.forward(x), theta)
        found: Tensor = weight * self.analysis.adjoint((pairs / root).flatten(1, 2), x.shape)
        return found

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative applied to ``v``."""
        pairs, root, _, weight = self._flux(self.analysis.forward(x), theta)
        moved = self.analysis.forward(v).unflatten(1, (2, -1))
        along = (pairs * moved).sum(1, keepdim=True) if self.isotropic else pairs * moved
        changed = moved / root - pairs * along / root**3
        return weight * self.analysis.adjoint(changed.flatten(1, 2), x.shape)

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the products of gradients and ``q`` with respect to the two parameters."""
        pairs, root, nu, weight = self._flux(self.analysis.forward(x), theta)
        moved = self.analysis.forward(q).unflatten(1, (2, -1))
        by_weight = (pairs / root * moved).sum()
        by_smoothing = -(nu**2 * pairs / root**3 * moved).sum()
        return weight * torch.stack([by_weight, by_smoothing])

    def curvature(self, theta: Tensor) -> float:
        """Weight over smoothing times the squared norm of the differences."""
        weight, nu = self._settings(theta)
        return float(weight / nu) * self.analysis.squared_norm()

    def hessian_diagonal(self, x: Tensor, theta: Tensor) -> Tensor:
        """Diagonal of the second derivative: each pixel takes part in its own two differences and in those of two neighbours."""
        pairs, root, nu, weight = self._flux(self.analysis.forward(x), theta)
        others = pairs.flip(1).square() if self.isotropic else torch.zeros_like(pairs)
        across, along = ((nu**2 + others) / root**3).unbind(1)
        across, along = across[..., :-1], along[..., :-1, :]
        found = F.pad(across, (0, 1)) + F.pad(across, (1, 0)) + F.pad(along, (0, 0, 0, 1)) + F.pad(along, (0, 0, 1, 0))
        if self.isotropic:
            found = found - 2 * pairs.prod(1) / root.squeeze(1) ** 3
        return weight * found

    def constants(self, x: Tensor, theta: Tensor) -> Constants:
        r"""Lipschitz constants for all images, and the exact norm of the mixed derivative at these.

        With the potential's argument p, a difference or a pair of them, the Hessian is :math:`e^{\theta_0} D^T M D` with blocks
        :math:`M(p) = \nabla^2 \sqrt{|p|^2 + \nu^2}`. Along any line the potential is :math:`\sqrt{t^2 + \kappa^2}` with a
        :math:`\kappa \ge \nu`, whose third derivative, :math:`3 \kappa^2 |t| / (t^2 + \kappa^2)^{5/2}`, is largest at
        :math:`t = \kappa / 2`. A symmetric trilinear form is largest on equal arguments, so that blocks change by at most
        :math:`48 / (25 \sqrt5 \nu^2)` times the change of p. That is at most the root of 2, for a difference, or of 3, for a pair whose two
        differences share a pixel, times the change of the image; and blocks that change by no more than b change the Hessian by no more
        than :math:`e^{\theta_0} \|D\|^2 b`.

        The mixed derivative has two columns, :math:`e^{\theta_0} D^T` of :math:`p / \sqrt{|p|^2 + \nu^2}` and of
        :math:`-\nu^2 p / (|p|^2 + \nu^2)^{3/2}`. Both maps have slopes of at most :math:`1 / \nu`, so that the two columns together change
        by at most :math:`\sqrt2 e^{\theta_0} \|D\|^2 / \nu`. The norm is the larger singular value of the two columns.
        """
        pairs, root, nu, weight = self._flux(self.analysis.forward(x), theta)
        columns = torch.stack(
            [weight * self.analysis.adjoint(u.flatten(1, 2), x.shape).flatten(1) for u in (pairs / root, -(nu**2) * pairs / root**3)], 2
        )
        squared = self.analysis.squared_norm()
        hessian = float(weight / nu**2) * squared * math.sqrt(3.0 if self.isotropic else 2.0) * 48 / (25 * math.sqrt(5))
        norm: Tensor = torch.linalg.matrix_norm(columns, 2)
        return Constants(hessian, float(weight / nu) * squared * math.sqrt(2), norm)
