"""HOAG: gradient descent with accuracies that follow a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from imaging.bilevel.directions import Pairs, bent, remembered
from imaging.bilevel.history import Learned, Step
from imaging.bilevel.problem import Problem
from imaging.bilevel.solvers import norms

SCHEDULES: dict[str, Callable[[int], float]] = {
    "geometric": lambda k: 0.9**k,
    "quadratic": lambda k: (k + 1.0) ** -2,
    "cubic": lambda k: (k + 1.0) ** -3,
    "fixed": lambda _: 1.0,
}


@dataclass(frozen=True, kw_only=True)
class HoagSettings:
    """Settings of HOAG.

    Attributes
    ----------
    schedule : {"geometric", "quadratic", "cubic", "fixed"}
        Of the accuracies; ``fixed`` is plain descent with constant ones.
    accuracy : float
        First distance of the lower level, Euclidean, for each image; the linear solves follow the same schedule from a tenth.
    grow : float
        Of the step after a loss that fell clearly.
    pairs : int
        As for `MaidSettings`: steps and changes of the hypergradient that limited-memory BFGS makes the direction from, along which a step
        of 1 is tried first; 0 descends along the hypergradient.
    """

    schedule: str = "quadratic"
    accuracy: float = 1.0
    grow: float = 1.05
    pairs: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"the schedule is {self.schedule!r}; accepted are {', '.join(SCHEDULES)}")
        if self.accuracy <= 0 or self.grow < 1 or self.pairs < 0:
            given = f"accuracy {self.accuracy}, growth {self.grow}, pairs {self.pairs}"
            raise ValueError(f"{given}; accepted are numbers above 0, from 1 and from 0")


def hoag(
    problem: Problem, theta: Tensor, settings: HoagSettings | None = None, *, iterations: int = 100, budget: float = math.inf,
    progress: Callable[[Step, Tensor], None] | None = None,
) -> Learned:  # fmt: skip
    """Hyperparameter optimisation with approximate gradient (Pedregosa 2016), its step adapted to the loss.

    The step is 1 over an estimate of the gradient's Lipschitz constant: it grows while the loss falls as such an estimate promises,
    allowing for the accuracy of both values, and is halved where the loss rises by more. Nothing is certified: what MAID is compared with.
    With pairs a direction begins with a step of 1, which is halved in the same way.

    Parameters
    ----------
    problem, theta, iterations, budget, progress
        As for `maid`.
    settings : HoagSettings, optional
        Schedule.
    """
    s = settings or HoagSettings()
    schedule, history = SCHEDULES[s.schedule], list[Step]()
    accuracy = s.accuracy
    solution, adjoint, step, first = problem.solve(theta, accuracy), None, 0.0, 1.0
    behind: Pairs | None = None
    pairs: Pairs | None = None
    for k in range(iterations):
        if problem.cost.total > budget:
            return Learned(theta, history, "budget")
        tolerance = min(0.9, 0.1 * schedule(k))
        gradient = problem.hypergradient(solution, theta, tolerance, adjoint)
        adjoint, length = gradient.adjoint, float(gradient.z.norm())
        if length == 0 or not math.isfinite(length):
            return Learned(theta, history, "converged" if length == 0 and not gradient.length.any() else "stalled")
        step = step or 0.01 * max(float(theta.norm()), 1.0) / length
        if s.pairs and behind is not None:
            pairs, behind = remembered(pairs, ((theta - behind[0]).double(), (gradient.z - behind[1]).double()), s.pairs), None
        newton = bent(gradient.z, pairs)
        d, slope, chosen = (gradient.z, length**2, step) if newton is None else (*newton, first)
        before, spread = problem.loss(solution), accuracy
        accuracy = max(s.accuracy * schedule(k + 1), 1e-6)
        moved = theta - chosen * d
        trial = problem.solve(moved, accuracy, solution.x)
        after = problem.loss(trial)
        error = float(norms(problem.error(solution)).mean()) * (spread + accuracy)
        if after > before + error:  # the step was too long for any error of the values to explain
            step, first = (0.5 * step, first) if newton is None else (step, 0.5 * first)
            solution = problem.solve(theta, accuracy, solution.x)
            continue
        if newton is None and after <= before + error - 0.5 * step * slope:
            step *= s.grow
        behind, theta, solution, first = (theta, gradient.z), moved, trial, 1.0
        low, high = problem.interval(solution)
        history.append(Step(problem.cost.total, low, high, accuracy, chosen, length, slope))
        if progress is not None:
            progress(history[-1], theta)
    return Learned(theta, history)
