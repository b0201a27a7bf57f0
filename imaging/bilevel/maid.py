"""MAID: descent with inexact values and gradients whose every accepted step certainly decreases the loss."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import Hypergradient
from imaging.bilevel.lower_level import Solution
from imaging.bilevel.maid_state import MaidState
from imaging.bilevel.problem import Problem

_FINER = 4.0
"""A trial that is undecided is solved so much finer."""
_LAST = 50
"""Steps tried at the finest accuracy where their lengths are those of Barzilai and Borwein, which differ by orders of magnitude."""
_REACH = 100.0
"""A Barzilai-Borwein step is at most so many times longer or shorter than the one that would be tried without."""


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
    barzilai_borwein : bool
        Whether the first step tried follows the curvature that the last two hypergradients saw, see `maid`.
    memory : float
        How much earlier losses count in what a step has to get below, from 0, where each step decreases the loss, to below 1. A step that
        only the memory lets pass refines the accuracies instead of relaxing them.
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
    barzilai_borwein: bool = False
    memory: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shrink", "refine", "decrease", "tolerance"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted are numbers between 0 and 1")
        for name in ("grow", "relax"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted are numbers from 1")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory}; accepted are numbers from 0 to below 1")
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
        ``converged`` (no step found at the finest accuracy, or a gradient below the tolerance), ``budget``, ``iterations``, or ``stalled``:
        hypergradients are zero or not finite at any accuracy although the loss changes with the minimisers, or a solver gave up.
    state : MaidState, optional
        What MAID needs to go on.
    """

    theta: Tensor
    history: list[Step] = field(default_factory=list)
    status: str = "iterations"
    state: MaidState | None = None

    def table(self) -> dict[str, list[float]]:
        """History by columns, named as the attributes of `Step`."""
        return {f.name: [getattr(step, f.name) for step in self.history] for f in fields(Step)}

    def write_csv(self, path: Path | str) -> None:
        """History as a text table: a line of names, then a line for each step."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([f.name for f in fields(Step)])
            writer.writerows(astuple(step) for step in self.history)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors, numbers and one string, for ``torch.save``."""
        rows = torch.tensor([astuple(step) for step in self.history], dtype=torch.float64).reshape(-1, len(fields(Step)))
        state = {} if self.state is None else {f"state.{name}": value for name, value in self.state.state_dict().items()}
        return {"theta": self.theta, "history": rows, "status": self.status} | state

    @classmethod
    def from_state_dict(cls, saved: dict[str, Any]) -> Learned:
        """The result that was saved."""
        history = [Step(int(cost), *rest) for cost, *rest in saved["history"].tolist()]
        state = {name.removeprefix("state."): value for name, value in saved.items() if name.startswith("state.")}
        return cls(saved["theta"], history, saved["status"], MaidState.from_state_dict(state) if state else None)


def maid(
    problem: Problem, theta: Tensor | Learned, settings: MaidSettings | None = None, *, iterations: int = 100, budget: float = math.inf,
    gradient_tolerance: float = 0.0, progress: Callable[[Step, Tensor], None] | None = None,
) -> Learned:  # fmt: skip
    r"""Method of adaptive inexact descent (Salehi, Mukherjee, Roberts and Ehrhardt 2025, algorithms 3.1 and 3.2).

    A step is accepted when even the upper end of the loss interval after it lies below the lower end before it, less Armijo's share: each
    accepted step decreases the exact loss, whatever the accuracy. Otherwise the step shrinks, and in the end both accuracies are refined.

    With a memory :math:`\eta` the upper end has to lie below an average of the lower ends so far (Zhang and Hager 2004). What each
    accepted step of length :math:`\alpha_k` along the hypergradient :math:`z_k` certainly satisfies is then, in exact losses,

    .. math::

        f(\theta_{k+1}) \le C_k - \lambda \alpha_k \|z_k\|^2, \quad C_k = \frac{\eta Q_{k-1} C_{k-1} + f(\theta_k)}{Q_k}, \quad
        Q_k = \eta Q_{k-1} + 1, \quad Q_{-1} = 0:

    a loss may be larger than the one before, but not than the average of those before, and that average decreases. The last parameters are
    returned, which need not be the best by then.

    With Barzilai-Borwein steps the first step of an outer iteration is, from the last changes s of the parameters and y of the
    hypergradients, the long one :math:`s^T s / s^T y` where it is less than twice the short one :math:`s^T y / y^T y`, and else the short
    (Barzilai and Borwein 1988; Zhou, Gao and Dai 2006), within a factor of 100 of the step that would be tried without. Where the product
    of s and y is not positive the latter is tried.

    Parameters
    ----------
    problem : Problem
        It counts the cost.
    theta : Tensor or Learned
        First parameters, or an earlier result of MAID to go on from with its accuracies, step, cost and history.
    settings : MaidSettings, optional
        Accuracies and steps.
    iterations : int
        Accepted steps at most, those of an earlier result not counted.
    budget : float
        Gradients and Hessian products of single images at most, those of an earlier result included.
    gradient_tolerance : float
        A hypergradient this short ends the search.
    progress : callable, optional
        Called with each accepted step and its parameters.

    Raises
    ------
    ValueError
        For an earlier result that is not of MAID.
    RuntimeError
        Where the lower level is found not to be convex.
    """
    s = settings or MaidSettings()
    state, earlier = _begin(problem, theta, s)
    search = _Search(problem, s, budget, gradient_tolerance, s.floor * problem.scale, earlier)
    history = list(theta.history) if isinstance(theta, Learned) else []
    for _ in range(iterations):
        found = "budget" if search.spent() > budget else _advance(search, state)
        if isinstance(found, str):
            return Learned(state.theta, history, found, replace(state, cost=search.spent()))
        state, record = found
        history.append(record)
        if progress is not None:
            progress(record, state.theta)
    return Learned(state.theta, history, state=replace(state, cost=search.spent()))


@dataclass(frozen=True)
class _Search:
    """What stays the same from step to step; ``earlier`` is the cost that the problem's own count does not have."""

    problem: Problem
    settings: MaidSettings
    budget: float
    gradient_tolerance: float
    floor: float
    earlier: int

    def spent(self) -> int:
        """Cost so far."""
        return self.earlier + self.problem.cost.total


def _begin(problem: Problem, theta: Tensor | Learned, s: MaidSettings) -> tuple[MaidState, int]:
    """Where a search begins, and what was spent before that the problem has not counted."""
    if isinstance(theta, Tensor):
        return MaidState(theta, problem.solve(theta, s.accuracy), s.accuracy, s.tolerance, s.step), 0
    if theta.state is None:
        raise ValueError("the result has no state to go on from, it is not one of MAID; give its parameters instead")
    return theta.state, theta.state.cost - problem.cost.total


def _trial(problem: Problem, theta: Tensor, wanted: float, accuracies: tuple[float, float], start: Tensor) -> Solution:
    """Minimisers at parameters on trial, only as exact as it takes to see that their loss is above what is wanted."""
    distance, accuracy = accuracies
    while True:
        solution = problem.solve(theta, max(distance, accuracy), start)
        if distance <= accuracy or problem.interval(solution)[0] > wanted or not solution.converged.all():
            return solution
        start, distance = solution.x, distance / _FINER


def _first_step(state: MaidState, z: Tensor, barzilai_borwein: bool) -> float:
    """Step to try first."""
    plain = state.step or 0.01 * max(float(state.theta.norm()), 1.0) / float(z.norm())
    if not barzilai_borwein or state.behind is None:
        return plain
    moved, changed = (state.theta - state.behind[0]).double(), (z - state.behind[1]).double()
    product = float(moved @ changed)
    if not product > 0:
        return plain
    long, short = float(moved @ moved) / product, product / float(changed @ changed)
    return min(max(long if long < 2 * short else short, plain / _REACH), plain * _REACH)


def _descend(search: _Search, state: MaidState, gradient: Hypergradient, trials: int) -> tuple[MaidState, Step] | str | None:
    """The first of some shrinking steps that is certainly good enough, None where there is none."""
    problem, s, z = search.problem, search.settings, gradient.z
    length, step = float(z.norm()), _first_step(state, z, s.barzilai_borwein)
    present = problem.interval(state.solution)[0]
    below, share = state.below(present, s.memory), s.decrease * length**2
    relaxed = s.relax * state.accuracy
    for _ in range(trials):
        theta, wanted = state.theta - step * z, below - step * share
        trial = _trial(problem, theta, wanted, (s.coarsest * relaxed, relaxed), state.solution.x)
        low, high = problem.interval(trial)
        if high <= wanted:
            finer = s.refine if state.accuracy > search.floor else 1.0
            factor = s.relax if high <= present - step * share else finer  # what only the memory lets pass may be for want of accuracy
            moved = MaidState(
                theta, trial, factor * state.accuracy, min(0.9, factor * state.tolerance), s.grow * step, gradient.adjoint,
                (state.theta, z), s.memory * state.weight + 1, below,
            )  # fmt: skip
            return moved, Step(search.spent(), low, high, relaxed, step, length)
        if search.spent() > search.budget:
            return "budget"
        step *= s.shrink
    return None


def _advance(search: _Search, state: MaidState) -> tuple[MaidState, Step] | str:
    """One accepted step, or why there is none."""
    problem, s, trials = search.problem, search.settings, search.settings.trials
    while True:
        gradient = problem.hypergradient(state.solution, state.theta, state.tolerance, state.adjoint)
        if gradient.indefinite.any():
            raise RuntimeError("the lower level's Hessian is not positive definite: the regulariser is not convex enough")
        length = float(gradient.z.norm())
        usable = math.isfinite(length) and (length > 0 or not gradient.length.any())
        if usable and length <= search.gradient_tolerance and gradient.converged.all():
            return "converged"
        finest = state.accuracy <= search.floor
        found = _descend(search, state, gradient, _LAST if finest and s.barzilai_borwein else trials) if usable else None
        if found is not None:
            return found
        if finest:
            return "converged" if usable else "stalled"
        if search.spent() > search.budget:
            return "budget"
        accuracy = s.refine * state.accuracy
        state = replace(
            state, solution=problem.solve(state.theta, accuracy, state.solution.x), accuracy=accuracy,
            tolerance=s.refine * state.tolerance, adjoint=gradient.adjoint if usable else None,
        )  # fmt: skip
        trials += 1
