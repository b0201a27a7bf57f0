"""MAID: descent with inexact values and gradients whose every accepted step certainly decreases the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from imaging.bilevel.hypergradient import hypergradient
from imaging.bilevel.lower_level import Solution
from imaging.bilevel.problem import BilevelProblem

_FINER = 4.0
"""A trial that is undecided is solved so much finer."""


@dataclass(frozen=True, kw_only=True)
class MaidSettings:
    """Settings of MAID.

    Attributes
    ----------
    accuracy : float
        First distance of the lower level, Euclidean, for each image.
    tolerance : float
        First tolerance of the linear solves, relative to the loss gradient, below 1.
    step : float or None
        First step; by default a hundredth of the parameters' length, at least of 1, over the first hypergradient's.
    shrink, grow : float
        Of the step when it is refused, and after it was accepted.
    refine, relax : float
        Of both accuracies when no step is found, and after one was accepted.
    decrease : float
        Share of the squared hypergradient that a step of length 1 has to gain, Armijo's constant.
    trials : int
        Steps tried before accuracies are refined; one more after each refinement.
    floor : float
        Smallest distance of the lower level, relative to the norm of the measurements: below it, no step found means convergence.
    coarsest : float
        A trial is first solved to so many times the accuracy, and finer only while that does not decide; 1 solves each trial at once.
    """

    accuracy: float = 1.0
    tolerance: float = 0.1
    step: float | None = None
    shrink: float = 0.5
    grow: float = 1.25
    refine: float = 0.5
    relax: float = 1.05
    decrease: float = 1e-4
    trials: int = 5
    floor: float = 1e-7
    coarsest: float = 64.0

    def __post_init__(self) -> None:
        for name in ("shrink", "refine", "decrease", "tolerance"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted are numbers between 0 and 1")
        for name in ("grow", "relax"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted are numbers from 1")
        if self.accuracy <= 0 or self.trials < 1 or self.coarsest < 1:
            given = f"accuracy {self.accuracy}, trials {self.trials}, coarsest {self.coarsest}"
            raise ValueError(f"{given}; accepted are numbers above 0, from 1 and from 1")


@dataclass(frozen=True)
class Step:
    """One line of the history: after an accepted step, what it cost so far and what is known of the loss."""

    cost: int
    low: float
    high: float
    accuracy: float
    step: float
    gradient: float


@dataclass(frozen=True)
class Learned:
    """Result of an outer method.

    Attributes
    ----------
    theta : Tensor
        Parameters.
    history : list of Step
        Accepted steps.
    status : str
        ``converged`` (no step found at the finest accuracy, or a gradient below the tolerance), ``budget`` or ``iterations``.
    """

    theta: Tensor
    history: list[Step] = field(default_factory=list)
    status: str = "iterations"


@dataclass(frozen=True)
class _State:
    theta: Tensor
    solution: Solution
    accuracy: float
    tolerance: float
    step: float | None
    adjoint: Tensor | None = None


def maid(
    problem: BilevelProblem, theta: Tensor, settings: MaidSettings | None = None, *, iterations: int = 100, budget: float = math.inf,
    gradient_tolerance: float = 0.0, progress: Callable[[Step, Tensor], None] | None = None,
) -> Learned:  # fmt: skip
    r"""Method of adaptive inexact descent (Salehi, Mukherjee, Roberts and Ehrhardt 2025, algorithms 3.1 and 3.2).

    A step is accepted when even the upper end of the loss interval after it lies below the lower end before it, less Armijo's share: each
    accepted step decreases the exact loss, whatever the accuracy. Otherwise the step shrinks, and in the end both accuracies are refined.

    Parameters
    ----------
    problem : BilevelProblem
        Its lower level counts the cost.
    theta : Tensor
        First parameters.
    settings : MaidSettings, optional
        Accuracies and steps.
    iterations : int
        Accepted steps at most.
    budget : float
        Gradients and Hessian products of single images at most.
    gradient_tolerance : float
        A hypergradient this short ends the search.
    progress : callable, optional
        Called with each accepted step and its parameters.
    """
    s = settings or MaidSettings()
    floor = s.floor * float(problem.measured.flatten(1).norm(dim=1).max())
    state = _State(theta, problem.solve(theta, s.accuracy), s.accuracy, s.tolerance, s.step)
    history: list[Step] = []
    while len(history) < iterations:
        if problem.lower.cost.total > budget:
            return Learned(state.theta, history, "budget")
        found = _advance(problem, state, s, floor, budget, gradient_tolerance)
        if isinstance(found, str):
            return Learned(state.theta, history, found)
        state, record = found
        history.append(record)
        if progress is not None:
            progress(record, state.theta)
    return Learned(state.theta, history)


def _trial(problem: BilevelProblem, theta: Tensor, wanted: float, accuracies: tuple[float, float], start: Tensor) -> Solution:
    """Minimisers at parameters on trial, only as exact as it takes to see that their loss is above what is wanted."""
    distance, accuracy = accuracies
    while True:
        solution = problem.solve(theta, max(distance, accuracy), start)
        if distance <= accuracy or problem.interval(solution)[0] > wanted or not solution.converged.all():
            return solution
        start, distance = solution.x, distance / _FINER


def _advance(
    problem: BilevelProblem, state: _State, s: MaidSettings, floor: float, budget: float, gradient_tolerance: float
) -> tuple[_State, Step] | str:  # fmt: skip
    """One accepted step, or why there is none."""
    trials = s.trials
    while True:
        x = state.solution.x
        gradient = hypergradient(problem.lower, state.solution, state.theta, x - problem.truth, state.tolerance, state.adjoint)
        if gradient.indefinite.any():
            raise RuntimeError("the lower level's Hessian is not positive definite: the regulariser is not convex enough")
        length = float(gradient.z.norm())
        if length <= gradient_tolerance:
            return "converged"
        step = state.step or 0.01 * max(float(state.theta.norm()), 1.0) / length
        low, _ = problem.interval(state.solution)
        relaxed = s.relax * state.accuracy
        for k in range(trials):
            trial_step = step * s.shrink**k
            theta = state.theta - trial_step * gradient.z
            wanted = low - s.decrease * trial_step * length**2
            trial = _trial(problem, theta, wanted, (s.coarsest * relaxed, relaxed), x)
            trial_low, high = problem.interval(trial)
            if high <= wanted:
                moved = _State(theta, trial, relaxed, min(0.9, s.relax * state.tolerance), s.grow * trial_step, gradient.adjoint)
                return moved, Step(problem.lower.cost.total, trial_low, high, relaxed, trial_step, length)
            if problem.lower.cost.total > budget:
                return "budget"
        if state.accuracy <= floor:
            return "converged"
        accuracy = s.refine * state.accuracy
        state = replace(
            state, solution=problem.solve(state.theta, accuracy, x), accuracy=accuracy, tolerance=s.refine * state.tolerance,
            adjoint=gradient.adjoint,
        )  # fmt: skip
        trials += 1
