"""Bilevel problems: which parameters make the minimisers of the lower level close to known images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.bilevel.hypergradient import Hypergradient, hypergradient
from imaging.bilevel.lower_level import LIMIT, LowerLevel, Solution, Spent
from imaging.bilevel.solvers import norms


class Problem(Protocol):
    """What an outer method asks of a bilevel problem; minimisers are batches ``(m, C, H, W)``, a vector being one image of one row."""

    @property
    def cost(self) -> Spent:
        """What has been spent."""

    @property
    def scale(self) -> float:
        """Length of a large minimiser: the finest distances are relative to it."""

    def solve(self, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None, limit: int = LIMIT) -> Solution:
        """Minimisers to a certified distance."""

    def error(self, solution: Solution) -> Tensor:
        """Gradient of each image's loss at approximate minimisers, of their shape."""

    def loss(self, solution: Solution) -> float:
        """Loss at approximate minimisers."""

    def interval(self, solution: Solution) -> tuple[float, float]:
        """Two numbers that the exact loss certainly lies between."""

    def hypergradient(self, solution: Solution, theta: Tensor, tolerance: float, start: Tensor | None = None) -> Hypergradient:
        """Derivative of the loss, from approximate minimisers and linear solves of a relative tolerance."""

    def double(self) -> Problem:
        """The same in float64, with a cost of its own."""


@dataclass(frozen=True)
class BilevelProblem:
    r"""Minimise :math:`f(\theta) = \tfrac1m \sum_i \tfrac12 \|\hat x_i(\theta) - x_i^*\|^2`.

    Attributes
    ----------
    lower : LowerLevel
        Energy; its `cost` counts all work.
    measured, truth : Tensor
        ``(m, C, H, W)``; one and the same draw of the noise throughout.
    border : int
        Pixels at the images' borders whose errors do not count.
    """

    lower: LowerLevel
    measured: Tensor
    truth: Tensor
    border: int = 0

    def __post_init__(self) -> None:
        if len(self.measured) != len(self.truth) or len(self.truth) == 0:
            raise ValueError(f"{len(self.measured)} measurements and {len(self.truth)} images; expected as many, at least one")

    @property
    def cost(self) -> Spent:
        """What the lower level has spent."""
        return self.lower.cost

    @property
    def scale(self) -> float:
        """Norm of the largest measurement."""
        return float(norms(self.measured).max())

    def error(self, solution: Solution) -> Tensor:
        """Errors that count, ``(m, C, H, W)``: the gradient of each image's loss."""
        error, b = solution.x - self.truth, self.border
        return error if b == 0 else F.pad(error[..., b:-b, b:-b], (b,) * 4)

    def loss(self, solution: Solution) -> float:
        """Loss at approximate minimisers."""
        return float(0.5 * norms(self.error(solution)).double().square().mean())

    def interval(self, solution: Solution) -> tuple[float, float]:
        """The exact loss lies between these two: each image's distance to the truth is known up to its bound."""
        distance, bound = norms(self.error(solution)).double(), solution.bound.double()
        low = (distance - bound).clamp(min=0).square().mean() / 2
        return float(low), float((distance + bound).square().mean() / 2)

    def solve(self, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None, limit: int = LIMIT) -> Solution:
        """Minimisers of all images."""
        return self.lower.solve(self.measured, theta, accuracy, start, limit)

    def hypergradient(self, solution: Solution, theta: Tensor, tolerance: float, start: Tensor | None = None) -> Hypergradient:
        """Derivative of the loss, see `imaging.bilevel.hypergradient`."""
        return hypergradient(self.lower, solution, theta, self.error(solution), tolerance, start)

    def double(self) -> BilevelProblem:
        """The same in float64, with a cost of its own."""
        weight = None if self.lower.weight is None else self.lower.weight.double()
        lower = replace(self.lower, weight=weight, cost=Spent())
        return BilevelProblem(lower, self.measured.double(), self.truth.double(), self.border)


def check_hypergradient(problem: Problem, theta: Tensor, *, step: float = 1e-3, directions: int = 3, seed: int = 0) -> float:
    """Largest relative difference between hypergradients and fourth-order differences of the loss along random directions, float64.

    Parameters
    ----------
    problem : Problem
        Taken to float64 for the check; nothing is changed.
    theta : Tensor
        Where to check.
    step : float
        Of the differences.
    directions : int
        How many.
    seed : int
        Of the directions.
    """
    exact, theta, generator = problem.double(), theta.double(), torch.Generator().manual_seed(seed)
    accuracy = 1e-11 * exact.scale
    solution = exact.solve(theta, accuracy)
    z = exact.hypergradient(solution, theta, 1e-12).z
    worst = 0.0
    for _ in range(directions):
        direction = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
        losses = [exact.loss(exact.solve(theta + s * step * direction, accuracy, solution.x)) for s in (2, 1, -1, -2)]
        difference = (8 * (losses[1] - losses[2]) - (losses[0] - losses[3])) / (12 * step)
        worst = max(worst, abs(difference - float(z @ direction)) / max(abs(difference), 1e-300))
    return worst
