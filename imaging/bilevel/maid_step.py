"""One step of MAID: its direction, its length, and how finely its end is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from imaging.bilevel.directions import Pairs, bent, remembered
from imaging.bilevel.history import Step
from imaging.bilevel.hypergradient import Hypergradient
from imaging.bilevel.lower_level import LIMIT, Solution
from imaging.bilevel.maid_settings import MaidSettings
from imaging.bilevel.maid_state import MaidState
from imaging.bilevel.problem import Problem

_FINER = 4.0
"""A trial that is undecided is solved so much finer."""
_REACH = 100.0
"""A Barzilai-Borwein step is at most so many times longer or shorter than the one that would be tried without."""
_PATIENCE, _LEAST = 10, 200
"""A trial's lower level gets so many times the most iterations that were needed before, at least so many: far out it may hardly be
solvable. Without adaptation it gets as many as any solve."""
_NARROW, _FINEST, _NEXT, _WIDEST = 0.5, 1 / 64, 1 / 8, 4.0
"""Where a trial is undecided the intervals are to shrink to the first share of the gain, by no more than the second; after an
accepted step they may grow to the third share of the gain, by no more than the last factor."""
_SHORTEST, _LONGEST, _WORTH = 0.05, 4.0, 0.25
"""A refused step shrinks to no less than the first share, an accepted one grows by no more than the second factor; a step is taken to gain
no less than the third share of what its slope promises."""
_Ends = tuple[tuple[float, float], tuple[float, float]]
"""Intervals of the loss before and after a step."""
EXACT = 1e-10
"""Smallest tolerance of the linear solves."""


@dataclass(frozen=True)
class MaidRun:
    """What stays the same from step to step; ``earlier`` is the cost that the problem's own count does not have."""

    problem: Problem
    settings: MaidSettings
    budget: float
    gradient_tolerance: float
    floor: float
    earlier: int

    def spent(self) -> int:
        """Spent so far."""
        return self.earlier + self.problem.cost.total


@dataclass(frozen=True)
class Refused:
    """No step was certainly good enough: which to try first with finer values, and how much finer."""

    step: float | None
    finer: float


@dataclass(frozen=True)
class _Descent:
    """A direction: against ``d``, where a step of length 1 promises a loss lower by ``slope``; the step ``first`` is tried first."""

    d: Tensor
    slope: float
    first: float
    pairs: Pairs | None


def _last_change(state: MaidState, z: Tensor) -> tuple[Tensor, Tensor] | None:
    """The last step, and the change of the hypergradient that it made."""
    return None if state.behind is None else ((state.theta - state.behind[0]).double(), (z - state.behind[1]).double())


def _plain_step(state: MaidState, length: float, z: Tensor, barzilai_borwein: bool) -> float:
    """Step along the hypergradient to try first."""
    plain = state.step or 0.01 * max(float(state.theta.norm()), 1.0) / length
    last = _last_change(state, z)
    if not barzilai_borwein or last is None:
        return plain
    moved, changed = last
    product = float(moved @ changed)
    if not product > 0:
        return plain
    long, short = float(moved @ moved) / product, product / float(changed @ changed)
    return min(max(long if long < 2 * short else short, plain / _REACH), plain * _REACH)


def _descent(state: MaidState, z: Tensor, settings: MaidSettings) -> _Descent:
    """Direction and first step, which is that of an earlier refusal for want of accuracy where there was one."""
    length = float(z.norm())
    pairs = remembered(state.pairs, _last_change(state, z), settings.pairs) if settings.pairs else None
    found = bent(z, pairs)
    if found is not None:
        return _Descent(*found, state.again or 1.0, pairs)
    step = _plain_step(state, length, z, settings.barzilai_borwein and not settings.pairs)
    return _Descent(z, length**2, state.again or step, pairs)


def _trial(run: MaidRun, theta: Tensor, wanted: float, accuracy: float, state: MaidState, coarsest: float) -> Solution:
    """Minimisers at parameters on trial, solved no more exactly than it takes to see that their loss is above the wanted one."""
    problem, s = run.problem, run.settings
    start, distance = state.solution.x, coarsest * accuracy
    limit = max(_PATIENCE * state.effort, _LEAST) if s.adaptive else LIMIT
    while True:
        solution = problem.solve(theta, max(distance, accuracy), start, limit)
        if distance <= accuracy or problem.interval(solution)[0] > wanted or not solution.converged.all():
            return solution
        start, distance = solution.x, distance / _FINER


def descend(run: MaidRun, state: MaidState, gradient: Hypergradient, trials: int) -> tuple[MaidState, Step] | str | Refused:
    """The first of some shrinking steps that is certainly good enough, or what to go on with where there is none."""
    problem, s = run.problem, run.settings
    descent = _descent(state, gradient.z, s)
    present = problem.interval(state.solution)
    below, relaxed = state.below(present[0], s.memory), s.relax * state.accuracy
    step = again = descent.first
    for tried in range(trials):
        theta, share = state.theta - step * descent.d, s.decrease * step * descent.slope
        likely = s.adaptive and descent.pairs is not None and tried == 0 and step == 1
        trial = _trial(run, theta, below - share, relaxed, state, 1.0 if likely else s.coarsest)
        low, high = problem.interval(trial)
        if high <= below - share:
            ends = present, (low, high)
            factor, grow = _relaxation(run, state, ends, share), _growth(s, step * descent.slope, ends)
            moved = MaidState(
                theta, trial, factor * state.accuracy, _tolerance(s, state, factor, gradient), grow * step,
                gradient.adjoint, (state.theta, gradient.z), s.memory * state.weight + 1, below, pairs=descent.pairs,
                effort=max(state.effort, int(trial.iterations.max())), first=state.first or float(gradient.z.norm()),
            )  # fmt: skip
            return moved, Step(run.spent(), low, high, relaxed, step, float(gradient.z.norm()), descent.slope)
        if run.spent() > run.budget:
            return "budget"
        if not s.adaptive or not trial.converged.all():
            step *= s.shrink
            continue
        gain, width = (sum(present) - low - high) / 2 - share, present[1] - present[0]
        if low <= present[1] - share:  # not a shorter step but finer values are wanted; a shorter one too, if this is probably too long
            worth = max(gain, _WORTH * step * descent.slope)
            return Refused(step if gain > 0 else step * s.shrink, min(s.refine, max(_NARROW * worth / (2 * width), _FINEST)))
        step *= min(max(_parabola(step * descent.slope, present[1] - low), _SHORTEST), s.shrink)
        again = step  # a longer one need not be tried again
    return Refused(again if s.adaptive else None, s.refine)


def _parabola(promised: float, gain: float) -> float:
    """Step to the least of a parabola, in units of a step whose slope promises one gain and that makes another."""
    bend = promised - gain
    return 0.5 * promised / bend if bend > 0 else math.inf


def _growth(settings: MaidSettings, promised: float, ends: _Ends) -> float:
    """Factor on a step that was accepted."""
    if not settings.adaptive:
        return settings.grow
    return max(settings.grow, min(_parabola(promised, (sum(ends[0]) - sum(ends[1])) / 2), _LONGEST))


def _tolerance(settings: MaidSettings, state: MaidState, factor: float, gradient: Hypergradient) -> float:
    """Tolerance of the linear solves after an accepted step, which follows the accuracy, or adaptively the hypergradient."""
    s = settings
    if not s.adaptive:
        return min(s.tolerance, max(factor * state.tolerance, EXACT))
    length = float(gradient.z.norm())
    return max(s.tolerance * min(1.0, length / (state.first or length), _WIDEST * state.tolerance / s.tolerance), EXACT)


def _relaxation(run: MaidRun, state: MaidState, ends: _Ends, share: float) -> float:
    """Factor on the accuracies after an accepted step."""
    s, (present, after) = run.settings, ends
    if after[1] > present[0] - share:  # what only the memory lets pass may be for want of accuracy
        return s.refine if state.accuracy > run.floor else 1.0
    if not s.adaptive:
        return s.relax
    gain, width = (sum(present) - sum(after)) / 2, max(after[1] - after[0], 1e-300)
    return max(s.relax, min(_NEXT * gain / width, _WIDEST))
