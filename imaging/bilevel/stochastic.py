"""Inexact stochastic gradients: learning from more images than fit into one problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import hypergradient
from imaging.bilevel.problem import BilevelProblem


@dataclass(frozen=True, kw_only=True)
class StochasticSettings:
    """Settings of inexact stochastic gradients.

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
    """

    steps: int = 1000
    rates: dict[str, float] = field(default_factory=lambda: {"all": 1e-2})
    accuracy: float = 1e-3
    tolerance: float = 0.03
    limit: int = 200
    average: float = 0.99
    warmup: int = 20

    def __post_init__(self) -> None:
        if self.steps < 1 or self.accuracy <= 0 or not 0 < self.tolerance < 1:
            given = f"steps {self.steps}, accuracy {self.accuracy}, tolerance {self.tolerance}"
            raise ValueError(f"{given}; accepted are numbers from 1, above 0 and between 0 and 1")

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
    rates = torch.full_like(state.theta.detach(), settings.rates.get("all", 0.0))
    for name, part in (groups or {}).items():
        rates[part] = settings.rates.get(name, settings.rates.get("all", 0.0))
    while (done := progress() if progress else state.step / settings.steps) < 1:
        problem, theta = problems(state.step), state.theta.detach().clone()
        pixels = problem.truth[0].numel()
        solution = problem.solve(theta, settings.accuracy * math.sqrt(pixels), limit=settings.limit)
        found = hypergradient(problem.lower, solution, theta, problem.error(solution), settings.tolerance, limit=settings.limit)
        loss = problem.loss(solution)
        usable = bool(torch.isfinite(found.z).all()) and not bool(found.indefinite.any()) and math.isfinite(loss)
        if usable:
            state.theta.grad = found.z / max(loss, 1e-12)
            before = state.theta.detach().clone()
            state.optimizer.param_groups[0]["lr"] = settings.schedule(state.step, done)
            state.optimizer.step()
            with torch.no_grad():
                state.theta.copy_(before + rates * (state.theta - before))
                state.mean.lerp_(state.theta.detach(), 1 - min(settings.average, (1 + state.step) / (10 + state.step)))
        state.step += 1
        yield {
            "step": state.step, "loss": loss / pixels, "iterations": float(solution.iterations.float().mean()),
            "reached": float(solution.converged.float().mean()), "residual": float(found.residual.max()), "used": float(usable),
        }  # fmt: skip
