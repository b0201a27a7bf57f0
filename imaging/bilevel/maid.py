"""MAID: descent with inexact values and gradients whose every accepted step certainly decreases the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from imaging.bilevel.history import Learned, Step
from imaging.bilevel.maid_settings import MaidSettings
from imaging.bilevel.maid_state import MaidState
from imaging.bilevel.maid_step import EXACT, MaidRun, Refused, descend
from imaging.bilevel.problem import Problem

_LAST = 50
"""Steps tried at the finest accuracy where their lengths are those of Barzilai and Borwein, which differ by orders of magnitude."""


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
        A hypergradient this short ends the run.
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
    run = MaidRun(problem, s, budget, gradient_tolerance, s.floor * problem.scale, earlier)
    history = list(theta.history) if isinstance(theta, Learned) else []
    for _ in range(iterations):
        found = "budget" if run.spent() > budget else _advance(run, state)
        if isinstance(found, str):
            return Learned(state.theta, history, found, replace(state, cost=run.spent()))
        state, record = found
        history.append(record)
        if progress is not None:
            progress(record, state.theta)
    return Learned(state.theta, history, state=replace(state, cost=run.spent()))


def _begin(problem: Problem, theta: Tensor | Learned, s: MaidSettings) -> tuple[MaidState, int]:
    """Where a run begins, and what was spent before that the problem has not counted."""
    if isinstance(theta, Tensor):
        return MaidState(theta, problem.solve(theta, s.accuracy), s.accuracy, s.tolerance, s.step), 0
    if theta.state is None:
        raise ValueError("the result has no state to go on from, it is not one of MAID; give its parameters instead")
    return theta.state, theta.state.cost - problem.cost.total


def _advance(run: MaidRun, state: MaidState) -> tuple[MaidState, Step] | str:
    """One accepted step, or why there is none."""
    problem, s, trials = run.problem, run.settings, run.settings.trials
    while True:
        gradient = problem.hypergradient(state.solution, state.theta, state.tolerance, state.adjoint)
        if gradient.indefinite.any():
            raise RuntimeError("the lower level's Hessian is not positive definite: the regulariser is not convex enough")
        length = float(gradient.z.norm())
        usable = math.isfinite(length) and (length > 0 or not gradient.length.any())
        if usable and length <= run.gradient_tolerance and gradient.converged.all():
            return "converged"
        finest = state.accuracy <= run.floor
        found = descend(run, state, gradient, _LAST if finest and s.barzilai_borwein else trials) if usable else Refused(None, s.refine)
        if not isinstance(found, Refused):
            return found
        if finest:
            return "converged" if usable else "stalled"
        if run.spent() > run.budget:
            return "budget"
        accuracy = max(found.finer * state.accuracy, min(run.floor, s.refine * state.accuracy))
        solution = problem.solve(state.theta, accuracy, state.solution.x)
        state = replace(
            state, solution=solution, accuracy=accuracy, tolerance=max((s.refine if s.adaptive else found.finer) * state.tolerance, EXACT),
            again=found.step, adjoint=gradient.adjoint if usable else None, effort=max(state.effort, int(solution.iterations.max())),
        )  # fmt: skip
        trials += 1
