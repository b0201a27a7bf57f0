"""Bilevel problems: which parameters make the minimisers of the lower level close to known images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import hypergradient
from imaging.bilevel.lower_level import Cost, LowerLevel, Solution, norms


@dataclass(frozen=True)
class BilevelProblem:
    r"""Minimise :math:`f(\theta) = \tfrac1m \sum_i \tfrac12 \|\hat x_i(\theta) - x_i^*\|^2`.

    Attributes
    ----------
    lower : LowerLevel
        Energy; its `cost` counts all work.
    measured, truth : Tensor
        ``(m, C, H, W)``; one and the same draw of the noise throughout.
    """

    lower: LowerLevel
    measured: Tensor
    truth: Tensor

    def __post_init__(self) -> None:
        if len(self.measured) != len(self.truth) or len(self.truth) == 0:
            raise ValueError(f"{len(self.measured)} measurements and {len(self.truth)} images; expected as many, at least one")

    def loss(self, solution: Solution) -> float:
        """Loss at approximate minimisers."""
        return float(0.5 * norms(solution.x - self.truth).double().square().mean())

    def interval(self, solution: Solution) -> tuple[float, float]:
        """The exact loss lies between these two: each image's distance to the truth is known up to its bound."""
        distance, bound = norms(solution.x - self.truth).double(), solution.bound.double()
        low = (distance - bound).clamp(min=0).square().mean() / 2
        return float(low), float((distance + bound).square().mean() / 2)

    def solve(self, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None) -> Solution:
        """Minimisers of all images."""
        return self.lower.solve(self.measured, theta, accuracy, start)


def check_hypergradient(problem: BilevelProblem, theta: Tensor, *, step: float = 1e-3, directions: int = 3, seed: int = 0) -> float:
    """Largest relative difference between hypergradients and fourth-order differences of the loss along random directions, float64.

    Parameters
    ----------
    problem : BilevelProblem
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
    weight = None if problem.lower.weight is None else problem.lower.weight.double()
    lower = replace(problem.lower, weight=weight, cost=Cost())
    exact = BilevelProblem(lower, problem.measured.double(), problem.truth.double())
    theta, generator = theta.double(), torch.Generator().manual_seed(seed)
    accuracy = 1e-11 * float(norms(exact.measured).max())
    solution = exact.solve(theta, accuracy)
    z = hypergradient(lower, solution, theta, solution.x - exact.truth, 1e-12).z
    worst = 0.0
    for _ in range(directions):
        direction = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
        losses = [exact.loss(exact.solve(theta + s * step * direction, accuracy, solution.x)) for s in (2, 1, -1, -2)]
        difference = (8 * (losses[1] - losses[2]) - (losses[0] - losses[3])) / (12 * step)
        worst = max(worst, abs(difference - float(z @ direction)) / max(abs(difference), 1e-300))
    return worst
