"""Inexact stochastic gradients: learning from more images than fit into one problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import hypergradient
from imaging.bilevel.problem import BilevelProblem
from imaging.bilevel.solvers import column, norms


@dataclass(frozen=True, kw_only=True)
class StochasticSettings:
    r"""Settings of inexact stochastic gradients.

    Attributes
    ----------
    steps : int
        Of the outer method.
    rates : dict
        Learning rate of each group of parameters, see ``RidgeRegularizer.groups``; one called ``all`` for those without a group.
    accuracy : float
        Of the lower level: root mean square distance of a pixel.
    tolerance : float
        Of the linear solves, relative.
    limit : int
        Iterations of a lower level at most, and of a linear solve.
    average : float
        Decay of the running mean of the parameters that is the result.
    warmup : int
        Steps of linear warm-up; a cosine takes the rates down to a hundredth.
    recall : int
        Problems after which the first comes again, each going on from its last minimisers and adjoints, which are kept: fewer iterations.
        With 0 each step's problem is new.
    even : bool
        Whether images of small and of large losses :math:`f_i` count more alike: descended is the mean of :math:`\log(f_i + f)` with the
        batch's mean loss f held fixed, instead of :math:`\log f`.
    limits : dict
        Smallest and largest value of a group's parameters, which are set back to them after each step.
    """

    steps: int = 1000
    rates: dict[str, float] = field(default_factory=lambda: {"all": 1e-2})
    accuracy: float = 1e-3
    tolerance: float = 0.03
    limit: int = 200
    average: float = 0.99
    warmup: int = 20
    recall: int = 0
    even: bool = False
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.accuracy <= 0 or not 0 < self.tolerance < 1:
            given = f"steps {self.steps}, accuracy {self.accuracy}, tolerance {self.tolerance}"
            raise ValueError(f"{given}; accepted are numbers from 1, above 0 and between 0 and 1")
        if self.recall < 0:
            raise ValueError(f"recall is {self.recall}; accepted are numbers from 0")

    def schedule(self, step: int, progress: float) -> float:
        """Factor on the rates."""
        return min(1.0, (step + 1) / self.warmup) * (0.505 + 0.495 * math.cos(math.pi * progress))


@dataclass
class StochasticState:
    """Where a learning stands; can be saved and resumed.

    Attributes
    ----------
    theta, mean : Tensor
        Parameters, and their running mean.
    optimizer : Adam
        Moments.
    step : int
        Finished steps.
    """

    theta: Tensor
    mean: Tensor
    optimizer: torch.optim.Adam
    step: int = 0

    @classmethod
    def begin(cls, theta: Tensor) -> StochasticState:
        """Before the first step."""
        theta = theta.detach().clone().requires_grad_()
        return cls(theta, theta.detach().clone(), torch.optim.Adam([theta], betas=(0.9, 0.99)))

    def state_dict(self) -> dict[str, object]:
        """Everything, for ``torch.save``."""
        return {"theta": self.theta.detach(), "mean": self.mean, "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a saved state."""
        self.theta.data.copy_(state["theta"])  # type: ignore[arg-type]
        self.mean.copy_(state["mean"])  # type: ignore[arg-type]
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.step = int(state["step"])  # type: ignore[call-overload]


def stochastic(
    problems: Callable[[int], BilevelProblem], state: StochasticState, settings: StochasticSettings, groups: dict[str, slice] | None = None,
    progress: Callable[[], float] | None = None,
) -> Iterator[dict[str, float]]:  # fmt: skip
    r"""Adam on inexact hypergradients of changing problems (Salehi, Ehrhardt, Roberts and Mukherjee 2024), a step at a time.

    What is descended is the logarithm of each problem's loss, so that problems of little and of much noise count alike.

    Parameters
    ----------
    problems : callable
        The problem of each step, such as a batch of patches with fresh noise.
    state : StochasticState
        Changed in place.
    settings : StochasticSettings
        Rates and accuracies.
    groups : dict, optional
        Names of parts of the parameters that have rates of their own.
    progress : callable, optional
        Part of the learning that is done, such as of a time; that of the steps by default.

    Yields
    ------
    dict
        Of each step: loss a pixel, iterations of the lower level, share of images that reached the accuracy, relative residual of the
        linear solves, whether the step was used.
    """
    groups = groups or {}
    rates = torch.full_like(state.theta.detach(), settings.rates.get("all", 0.0))
    for name, part in groups.items():
        rates[part] = settings.rates.get(name, settings.rates.get("all", 0.0))
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    while (done := progress() if progress else state.step / settings.steps) < 1:
        index = state.step % settings.recall if settings.recall else state.step
        problem, theta = problems(index), state.theta.detach().clone()
        pixels = problem.truth[0].numel()
        start, adjoint = kept.get(index, (None, None))
        solution = problem.solve(theta, settings.accuracy * math.sqrt(pixels), start, settings.limit)
        errors = problem.error(solution)
        each = 0.5 * norms(errors).square()
        loss = float(each.mean())
        weight = 1 / (each + loss).clamp(min=1e-12) if settings.even else torch.full_like(each, 1 / max(loss, 1e-12))
        slopes = column(weight) * errors
        found = hypergradient(problem.lower, solution, theta, slopes, settings.tolerance, adjoint, settings.limit)
        usable = bool(torch.isfinite(found.z).all()) and not bool(found.indefinite.any()) and math.isfinite(loss)
        if usable:
            _descend(state, found.z, rates, settings, done)
            for name, (least, most) in settings.limits.items():
                state.theta.data[groups[name]].clamp_(least, most)
                state.mean[groups[name]].clamp_(least, most)
        if usable and settings.recall:
            kept[index] = solution.x, found.adjoint
        state.step += 1
        yield {
            "step": state.step, "loss": loss / pixels, "iterations": float(solution.iterations.float().mean()),
            "reached": float(solution.converged.float().mean()), "residual": float(found.residual.max()), "used": float(usable),
        }  # fmt: skip


@torch.no_grad()
def _descend(state: StochasticState, z: Tensor, rates: Tensor, settings: StochasticSettings, done: float) -> None:
    """A step of Adam with each parameter's own rate, and the running mean."""
    state.theta.grad, before = z, state.theta.detach().clone()
    state.optimizer.param_groups[0]["lr"] = settings.schedule(state.step, done)
    state.optimizer.step()
    state.theta.copy_(before + rates * (state.theta - before))
    state.mean.lerp_(state.theta.detach(), 1 - min(settings.average, (1 + state.step) / (10 + state.step)))
