"""The lower level: a strongly convex energy, and solving it to a certified distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from imaging.bilevel.regularizers import Regularizer
from imaging.bilevel.solvers import accelerated, norms, quasi_newton

METHODS = ("quasi-newton", "accelerated", "gradient")
"""Solvers."""
LIMIT = 20_000
"""Iterations of a solve at most."""
_STEEPEST = 1e12
"""Condition numbers beyond which no solve is tried."""


@dataclass
class Spent:
    """What has been spent, counted for each image: gradients and Hessian products of the lower level, those of rejected steps included."""

    gradients: int = 0
    hessians: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.gradients + self.hessians


@dataclass(frozen=True)
class Solution:
    """Approximate minimisers of a batch.

    Attributes
    ----------
    x : Tensor
        ``(B, C, H, W)``.
    bound : Tensor
        ``(B,)`` certified Euclidean distances to the exact minimisers.
    iterations : Tensor
        ``(B,)``.
    converged : Tensor
        ``(B,)`` whether the bound is as small as asked for; otherwise the dtype's floor or the limit of iterations was reached.
    """

    x: Tensor
    bound: Tensor
    iterations: Tensor
    converged: Tensor


@dataclass(frozen=True)
class LowerLevel:
    r"""The energy :math:`\tfrac12 \|Ax - y\|_w^2 + \tfrac\gamma2 \|x\|^2 + R(x, \theta)`, not divided by pixels or images.

    Parameters
    ----------
    regularizer : Regularizer
        Convex.
    physics : deepinv LinearPhysics, optional
        The identity by default. Other operators need ``ridge``.
    ridge : float
        Gamma: makes the energy strongly convex.
    norm : float
        An upper bound on the squared norm of the operator.
    weight : Tensor, optional
        Of each measured pixel, not negative, ``(1 or B, C, h, w)``: noise that differs between pixels, or a mask. Zeros need a ridge.
    method : {"quasi-newton", "accelerated", "gradient"}
        How it is solved, see `imaging.bilevel.solvers`.
    crowd : float
        Finished images leave a batch when no more than this share of it is unfinished: at once by default; less saves copies on a GPU.
    """

    regularizer: Regularizer
    physics: LinearPhysics | None = None
    ridge: float = 0.0
    norm: float = 1.0
    weight: Tensor | None = None
    method: str = "quasi-newton"
    crowd: float = 0.999
    cost: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"the method is {self.method!r}; accepted are {', '.join(METHODS)}")
        if self.weight is not None and bool((self.weight < 0).any()):
            raise ValueError("weights of pixels must not be negative")
        if self.strong_convexity <= 0:
            raise ValueError("the energy is not strongly convex; an operator needs a ridge above 0")

    @property
    def strong_convexity(self) -> float:
        """A lower bound on the smallest eigenvalue of the Hessian: what turns gradients into distances."""
        least = 1.0 if self.weight is None else float(self.weight.min())
        return self.ridge + (least if self.physics is None else 0.0) - self.regularizer.weak_convexity

    def smoothness(self, theta: Tensor) -> float:
        """An upper bound on the largest eigenvalue of the Hessian."""
        most = 1.0 if self.weight is None else float(self.weight.max())
        return most * (1.0 if self.physics is None else self.norm) + self.ridge + self.regularizer.curvature(theta)

    def _weighted(self, y: Tensor, rows: Tensor | None) -> Tensor:
        """Measured values times their weights, those of some images of the batch where rows are given."""
        if self.weight is None:
            return y
        return y * (self.weight if rows is None or len(self.weight) == 1 else self.weight[rows])

    def _normal(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        if self.physics is None:
            return self._weighted(x, rows)
        found: Tensor = self.physics.A_adjoint(self._weighted(self.physics.A(x), rows))
        return found

    def back(self, y: Tensor) -> Tensor:
        """The operator's adjoint applied to weighted measurements."""
        weighted = self._weighted(y, None)
        return weighted if self.physics is None else self.physics.A_adjoint(weighted)

    def gradient(self, x: Tensor, back: Tensor, theta: Tensor, rows: Tensor | None = None) -> Tensor:
        """Gradient of the energy; ``back`` is that of the measurements, ``rows`` are the images' places in the batch."""
        self.cost.gradients += len(x)
        return self._normal(x, rows) - back + self.ridge * x + self.regularizer.grad(x, theta)

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Second derivative of the energy at ``x`` applied to ``v``."""
        self.cost.hessians += len(x)
        return self._normal(v) + self.ridge * v + self.regularizer.hessian(x, v, theta)

    @torch.no_grad()
    def solve(self, y: Tensor, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None, limit: int = LIMIT) -> Solution:
        r"""Minimise to a certified distance, :math:`\|x - \hat x\| \le \|\nabla h(x)\| / \mu`.

        Images that are finished leave the batch. An image whose gradient no longer falls, as at the floor of its dtype, keeps its best
        iterate and the valid, wider bound.

        Parameters
        ----------
        y : Tensor
            Measurements.
        theta : Tensor
            Parameters.
        accuracy : float or Tensor ``(B,)``
            Euclidean distance of each image, not per pixel.
        start : Tensor, optional
            First iterate; the adjoint of the measurement by default.
        limit : int
            Iterations at most.
        """
        back = self.back(y)
        begin = back if start is None else start
        count, mu, smoothness = len(begin), self.strong_convexity, self.smoothness(theta)
        wanted = torch.as_tensor(accuracy, dtype=begin.dtype, device=begin.device).expand(count)
        if not smoothness < _STEEPEST * mu:  # parameters gone astray: nothing can be solved, and the bound says so
            distance = torch.nan_to_num(norms(self.gradient(begin, back, theta)) / mu, nan=math.inf, posinf=math.inf)
            return Solution(begin.clone(), distance, torch.zeros(count, dtype=torch.long), distance <= wanted)

        def slope(x: Tensor, rows: Tensor) -> Tensor:
            return self.gradient(x, back if len(rows) == count else back[rows], theta, rows)

        if self.method == "quasi-newton":
            best = quasi_newton(slope, begin, mu * wanted, smoothness, limit, self.crowd)
        else:
            momentum = self.method == "accelerated"
            best = accelerated(slope, begin, mu * wanted, mu, smoothness, limit, self.crowd, momentum=momentum)
        bound = best.length / mu
        return Solution(best.x, bound, best.iterations, bound <= wanted)
