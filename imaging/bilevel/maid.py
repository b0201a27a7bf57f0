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

    Adaptively, what a refused step showed is used. Where its loss may still be low enough, both accuracies are refined at once, to what it
    takes to be certain, and the same step is tried again, or a shorter one if the middles of the intervals say that it gains nothing. Where
    it is certainly not, the next step is that of the least of a parabola through the values and the slope, and none as long is tried again
    at finer accuracies. After an accepted step accuracies grow by more than ``relax`` where the gain was much larger than the intervals,
    and the tolerance of the linear solves follows the length of the hypergradient, whose error is to stay a share of it.

    With pairs the step is along the hypergradient times the inverse Hessian that limited-memory BFGS makes of the last steps and changes of
    the hypergradient (Liu and Nocedal 1989), pairs without positive curvature left out. What an accepted step gains is then at least
    :math:`\lambda \alpha_k \langle z_k, d_k \rangle` with the direction :math:`d_k`, in place of the squared length of the hypergradient.

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
