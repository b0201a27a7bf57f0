"""Bilevel problems without images: one of least squares whose optimum has a closed form, and one of classification."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.bilevel.hypergradient import Hypergradient
from imaging.bilevel.linear import LinearMap, conjugate_gradients
from imaging.bilevel.lower_level import Solution, Spent

if TYPE_CHECKING:
    from typing import Self

_INEXACT, _DAMPINGS, _STEEPEST = 0.05, [0.5**k for k in range(30)], 1e12
"""Residual of Newton's directions, relative; factors on them that are tried; condition numbers beyond which no solve is tried."""


@dataclass(frozen=True)
class _Single(ABC):
    """A problem whose lower level is one energy of one vector or matrix, ``(1, 1, H, W)``; it counts as one image."""

    cost: Spent = field(default_factory=Spent, kw_only=True)

    @property
    @abstractmethod
    def origin(self) -> Tensor:
        """First iterate, zeros."""

    @abstractmethod
    def curvatures(self, theta: Tensor) -> tuple[float, float]:
        """Bounds on the smallest and on the largest eigenvalue of the energy's Hessian."""

    @abstractmethod
    def gradient(self, x: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the energy."""

    @abstractmethod
    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative of the energy at ``x`` applied to ``v``."""

    @abstractmethod
    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the product of the energy's gradient and ``q`` with respect to the parameters, ``(p,)``."""

    @abstractmethod
    def error(self, solution: Solution) -> Tensor:
        """Gradient of the loss."""

    def _slope(self, x: Tensor, theta: Tensor) -> tuple[Tensor, float]:
        """Gradient of the energy and its length, counted."""
        self.cost.gradients += 1
        slope = self.gradient(x, theta)
        return slope, float(slope.norm())

    def _product(self, x: Tensor, theta: Tensor) -> LinearMap:
        """Hessian products at a point, counted."""

        def product(v: Tensor) -> Tensor:
            self.cost.hessians += 1
            return self.hessian(x, v, theta)

        return product

    @torch.no_grad()
    def solve(self, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None, limit: int = 20_000) -> Solution:
        r"""Minimise to a certified Euclidean distance, :math:`\|x - \hat x\| \le \|\nabla h(x)\| / \mu`.

        The inexact directions of Newton's method (Dembo, Eisenstat and Steihaug 1982) are halved until the gradient is shorter, as its
        length certifies the distance. Arguments are those of `LowerLevel.solve`, but ``limit`` counts gradients.
        """
        x = self.origin if start is None else start
        convexity, smoothness = self.curvatures(theta)
        slope, length = self._slope(x, theta)
        taken, wanted = 1, convexity * float(accuracy)
        solvable = smoothness < _STEEPEST * convexity and math.isfinite(length)
        while solvable and length > wanted and taken < limit:
            direction = conjugate_gradients(self._product(x, theta), slope, _INEXACT).q
            for damping in _DAMPINGS:
                moved = x - damping * direction
                changed, shorter = self._slope(moved, theta)
                taken += 1
                if shorter < (1 - 1e-4 * damping) * length:
                    break
            else:  # the floor of the dtype
                break
            x, slope, length = moved, changed, shorter
        bound = x.new_tensor([length / convexity if solvable else math.inf])
        return Solution(x, bound, torch.tensor([taken]), bound <= accuracy)

    @torch.no_grad()
    def hypergradient(self, solution: Solution, theta: Tensor, tolerance: float, start: Tensor | None = None) -> Hypergradient:
        """Derivative of the loss by the implicit function theorem, as `imaging.bilevel.hypergradient`."""
        rhs = self.error(solution)
        found = conjugate_gradients(self._product(solution.x, theta), rhs, tolerance, start)
        return Hypergradient.of(-self.mixed_adjoint(solution.x, found.q, theta), found, rhs)

    def double(self) -> Self:
        """The same in float64, with a cost of its own."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, cost=Spent(), **{k: v.double() for k, v in tensors.items() if v.is_floating_point()})


@dataclass(frozen=True)
class QuadraticProblem(_Single):
    r"""Minimise :math:`\tfrac12 \|A_1 \hat x(\theta) - b_1\|^2`.

    The lower level is :math:`\hat x(\theta) = \arg\min_x \tfrac12 \|A_2 x + A_3 \theta - b_2\|^2`.

    Attributes
    ----------
    upper, lower, coupling : Tensor
        :math:`A_1` and :math:`A_2`, ``(n, d)`` of full column rank, and :math:`A_3`, ``(n, p)``.
    goal, measured : Tensor
        :math:`b_1` and :math:`b_2`, ``(n,)``.
    """

    upper: Tensor
    lower: Tensor
    coupling: Tensor
    goal: Tensor
    measured: Tensor

    def __post_init__(self) -> None:
        if not self.curvatures(self.goal)[0] > 0:
            raise ValueError("the lower level is not strongly convex; its matrix needs linearly independent columns")

    @classmethod
    def random(cls, rows: int = 1000, size: int = 10, seed: int = 0) -> QuadraticProblem:
        """Matrices and solutions uniform in [0, 1], as many parameters as unknowns, noise of standard deviation 0.01; float64."""
        generator = torch.Generator().manual_seed(seed)
        upper, lower, coupling = torch.rand(3, rows, size, generator=generator, dtype=torch.float64)
        x, other, theta = torch.rand(3, size, generator=generator, dtype=torch.float64)
        noise = 0.01 * torch.randn(2, rows, generator=generator, dtype=torch.float64)
        return cls(upper, lower, coupling, upper @ x + noise[0], lower @ other + coupling @ theta + noise[1])

    def optimum(self) -> Tensor:
        """The best parameters, ``(p,)``: least squares with the minimiser in closed form."""
        free, moved = (torch.linalg.lstsq(self.lower, b).solution for b in (self.measured[:, None], self.coupling))
        solved: Tensor = torch.linalg.lstsq(self.upper @ moved, self.upper @ free - self.goal[:, None]).solution
        return solved[:, 0]

    def minimiser(self, theta: Tensor) -> Tensor:
        """Minimiser of the lower level, ``(1, 1, 1, d)``, without forming normal equations."""
        solved: Tensor = torch.linalg.lstsq(self.lower, (self.measured - self.coupling @ theta)[:, None]).solution
        return solved.reshape(1, 1, 1, -1)

    @cached_property
    def _gram(self) -> Tensor:
        return self.lower.T @ self.lower

    @cached_property
    def _eigenvalues(self) -> tuple[float, float]:
        values = torch.linalg.svdvals(self.lower).square()
        return float(values[-1]), float(values[0])

    @property
    def origin(self) -> Tensor:
        """Zeros."""
        return self.lower.new_zeros(1, 1, 1, self.lower.shape[1])

    @property
    def scale(self) -> float:
        """Length of the vector that the upper level alone would choose."""
        return float(torch.linalg.lstsq(self.upper, self.goal[:, None]).solution.norm())

    def curvatures(self, theta: Tensor) -> tuple[float, float]:
        """Squares of the extreme singular values."""
        return self._eigenvalues

    def gradient(self, x: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the lower level."""
        return x @ self._gram + (self.coupling @ theta - self.measured) @ self.lower

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative of the lower level, the same everywhere, applied to ``v``."""
        return v @ self._gram

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the product of the gradient and ``q`` with respect to the parameters, which are coupled linearly."""
        return (self.lower @ q.flatten()) @ self.coupling

    def _residual(self, x: Tensor) -> Tensor:
        return self.upper @ x.flatten() - self.goal

    def error(self, solution: Solution) -> Tensor:
        """Gradient of the loss, ``(1, 1, 1, d)``."""
        return (self._residual(solution.x) @ self.upper).reshape(solution.x.shape)

    def loss(self, solution: Solution) -> float:
        """Half the squared residual."""
        return float(0.5 * self._residual(solution.x).square().sum())

    def interval(self, solution: Solution) -> tuple[float, float]:
        """The residual's length is known up to the bound times the norm of the upper level's matrix."""
        length, spread = float(self._residual(solution.x).norm()), float(torch.linalg.matrix_norm(self.upper, 2) * solution.bound)
        return 0.5 * max(length - spread, 0.0) ** 2, 0.5 * (length + spread) ** 2


@dataclass(frozen=True)
class LogisticProblem(_Single):
    r"""Multinomial logistic regression with a weight of decay for each coefficient, learned from the loss of other samples.

    The lower level is the mean cross-entropy of the training samples plus :math:`\tfrac12 \sum_i e^{\theta_i} w_i^2` with coefficients w,
    ``(1, 1, features, classes)``; the upper level is the mean cross-entropy of the validation samples.

    Attributes
    ----------
    train, validation : Tensor
        Samples, ``(n, features)``.
    labels, validation_labels : Tensor
        ``(n,)``, integers from 0 to below ``classes``.
    classes : int
        How many.
    """

    train: Tensor
    labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    classes: int
    scale: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        for samples, labels in ((self.train, self.labels), (self.validation, self.validation_labels)):
            if len(samples) != len(labels) or len(labels) == 0:
                raise ValueError(f"{len(samples)} samples and {len(labels)} labels; expected as many, at least one")
            if int(labels.min()) < 0 or int(labels.max()) >= self.classes:
                raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())}; accepted are 0 to {self.classes - 1}")

    def start(self, value: float = -3.0) -> Tensor:
        """Parameters to learn from, ``(features * classes,)``, all the same."""
        return self.train.new_full((self.train.shape[1] * self.classes,), value)

    @cached_property
    def _smoothness(self) -> list[float]:
        """Upper bounds on the curvature of both mean cross-entropies: that of the softmax is at most a half (Boehning 1992)."""
        return [0.5 * float(torch.linalg.matrix_norm(s, 2)) ** 2 / len(s) for s in (self.train, self.validation)]

    @cached_property
    def lipschitz(self) -> float:
        """Upper bound on the length of the loss's gradient: predicted and true probabilities are at most the root of 2 apart."""
        return 2**0.5 * float(self.validation.norm(dim=1).mean())

    @property
    def origin(self) -> Tensor:
        """Zeros."""
        return self.train.new_zeros(1, 1, self.train.shape[1], self.classes)

    def curvatures(self, theta: Tensor) -> tuple[float, float]:
        """The smallest decay; the largest with the curvature of the cross-entropy."""
        return float(theta.min().exp()), float(theta.max().exp()) + self._smoothness[0]

    @staticmethod
    def _pull(samples: Tensor, labels: Tensor, w: Tensor) -> Tensor:
        """Gradient of the mean cross-entropy."""
        excess = (samples @ w[0, 0]).softmax(1) - F.one_hot(labels, w.shape[-1])
        return (samples.T @ excess / len(samples)).reshape(w.shape)

    def gradient(self, x: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the lower level."""
        return self._pull(self.train, self.labels, x) + theta.exp().reshape(x.shape) * x

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative of the lower level applied to ``v``."""
        likely, moved = (self.train @ x[0, 0]).softmax(1), self.train @ v[0, 0]
        moved = likely * (moved - (likely * moved).sum(1, keepdim=True))
        return (self.train.T @ moved / len(moved)).reshape(v.shape) + theta.exp().reshape(v.shape) * v

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Gradient of the product of the gradient and ``q`` with respect to the parameters, which only the decay has."""
        return theta.exp() * (x * q).flatten()

    def error(self, solution: Solution) -> Tensor:
        """Gradient of the loss, ``(1, 1, features, classes)``."""
        return self._pull(self.validation, self.validation_labels, solution.x)

    def loss(self, solution: Solution) -> float:
        """Mean cross-entropy of the validation samples."""
        return float(F.cross_entropy(self.validation @ solution.x[0, 0], self.validation_labels))

    def interval(self, solution: Solution) -> tuple[float, float]:
        """The loss is convex and smooth, and changes by at most `lipschitz` times the distance."""
        loss, bound, slope = self.loss(solution), float(solution.bound), float(self.error(solution).norm())
        rise = min(self.lipschitz, slope + 0.5 * self._smoothness[1] * bound)
        return max(loss - slope * bound, 0.0), loss + rise * bound
