"""The lower level: a strongly convex energy, and solving it to a certified distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from imaging.bilevel.regularizers import Regularizer

_STEEPEST = 1e12
"""Condition numbers beyond which no solve is tried."""


@dataclass
class Cost:
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


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of each image, ``(B,)``."""
    found: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return found


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each pair of images, ``(B,)``."""
    return (a * b).flatten(1).sum(1)


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


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
    """

    regularizer: Regularizer
    physics: LinearPhysics | None = None
    ridge: float = 0.0
    norm: float = 1.0
    weight: Tensor | None = None
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        if self.weight is not None and bool((self.weight < 0).any()):
            raise ValueError("weights of pixels must not be negative")
        if self.strong_convexity <= 0:
            raise ValueError("the energy is not strongly convex; an operator needs a ridge above 0")

    @property
    def strong_convexity(self) -> float:
        """A lower bound on the smallest eigenvalue of the Hessian: what turns gradients into distances."""
        least = 1.0 if self.weight is None else float(self.weight.min())
        return self.ridge + (least if self.physics is None else 0.0)

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
    def solve(self, y: Tensor, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None, limit: int = 20_000) -> Solution:
        r"""Minimise to a certified distance, :math:`\|x - \hat x\| \le \|\nabla h(x)\| / \mu`.

        Accelerated gradient descent with the constant momentum of a strongly convex energy (Nesterov 2004, 2.2.22), restarted where it goes
        uphill (O'Donoghue and Candes 2015). Images that are finished leave the batch. An image whose gradient no longer falls, as at the
        floor of its dtype, keeps its best iterate and the valid, wider bound.

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
        best = (back if start is None else start).clone()
        count, mu, smoothness = len(best), self.strong_convexity, self.smoothness(theta)
        wanted = torch.as_tensor(accuracy, dtype=best.dtype, device=best.device).expand(count)
        if not smoothness < _STEEPEST * mu:  # parameters gone astray: nothing can be solved, and the bound says so
            distance = torch.nan_to_num(norms(self.gradient(best, back, theta)) / mu, nan=math.inf, posinf=math.inf)
            return Solution(best, distance, torch.zeros(count, dtype=torch.long), distance <= wanted)
        ratio = math.sqrt(mu / smoothness)
        momentum, patience = (1 - ratio) / (1 + ratio), 50 + math.ceil(2 / ratio)
        bound, spent = torch.full_like(wanted, math.inf), torch.zeros(count, dtype=torch.long)
        active = torch.arange(count, device=best.device)
        x = z = best
        stale = torch.zeros(count, dtype=torch.long, device=best.device)
        for iteration in range(limit):
            slope = self.gradient(z, back[active], theta, active)
            distance = norms(slope) / mu
            better = distance < bound[active]
            best[active[better]], bound[active[better]] = z[better], distance[better]
            stale = torch.where(better, 0, stale + 1)
            spent[active.cpu()] = iteration + 1
            keep = (bound[active] > wanted[active]) & (stale < patience) & torch.isfinite(distance)
            if not keep.any():
                break
            following = z - slope / smoothness
            uphill = inner(slope, following - x) > 0
            stepped = following + torch.where(_column(uphill), torch.zeros_like(x), momentum * (following - x))
            active, x, z, stale = active[keep], following[keep], stepped[keep], stale[keep]
        return Solution(best, bound, spent, bound <= wanted)
