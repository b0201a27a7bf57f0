"""Learning without derivatives: what methods with hypergradients are compared with."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.bilevel.history import Learned, Step
from imaging.bilevel.problem import BilevelProblem
from imaging.bilevel.solvers import norms
from imaging.errors import InputError


class _SpentError(Exception):
    """The budget is spent."""


@dataclass
class _Evaluations:
    """Distances at the parameters that the solver asks for, and the best parameters so far."""

    problem: BilevelProblem
    accuracy: float
    budget: float
    best: Tensor
    loss: float = math.inf
    warm: Tensor | None = None
    history: list[Step] = field(default_factory=list)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of each image to the truth over the root of their number."""
        problem, theta = self.problem, torch.from_numpy(x.copy()).to(self.best)
        if problem.cost.total > self.budget:
            raise _SpentError
        solution = problem.solve(theta, self.accuracy, self.warm)
        loss, (low, high) = problem.loss(solution), problem.interval(solution)
        if loss < self.loss:
            moved = float((theta - self.best).norm())
            self.best, self.loss, self.warm = theta, loss, solution.x
            self.history.append(Step(problem.cost.total, low, high, self.accuracy, moved, math.nan, math.nan))
        residuals = norms(problem.error(solution)).double() / math.sqrt(len(problem.truth))
        found: NDArray[np.float64] = residuals.cpu().numpy()
        return found


def derivative_free(
    problem: BilevelProblem, theta: Tensor, accuracy: float, budget: float = math.inf, *, evaluations: int = 100, radius: float = 0.5,
    smallest: float = 1e-4, bounds: tuple[float, float] = (-15.0, 5.0),
) -> Learned:  # fmt: skip
    """DFO-LS (Cartis, Fiala, Marteau and Roberts 2019) at one fixed accuracy of the lower level, as Ehrhardt and Roberts (2021) learn.

    The solver sees the distance of each image's minimiser to the truth, over the root of the number of images: their squares add up to
    twice the loss. It fits a linear model of them in the parameters, so that the work grows with the number of parameters.

    Parameters
    ----------
    problem : BilevelProblem
        It counts the cost.
    theta : Tensor
        First parameters, ``(p,)``.
    accuracy : float
        Distance of the lower level, Euclidean, for each image.
    budget : float
        Gradients of single images at most; the solve during which it is spent is finished.
    evaluations : int
        Parameters tried at most.
    radius, smallest : float
        First and last radius of the region that the models are trusted in, in the unit of the parameters.
    bounds : tuple of float
        Least and largest value of a parameter.

    Returns
    -------
    Learned
        Best parameters; its history has a line for each improvement, whose ``step`` is the distance moved and whose ``gradient`` is not
        known. ``converged`` says that the smallest radius was reached, ``stalled`` that the solver gave up.

    Raises
    ------
    InputError
        Where the package DFO-LS is missing.
    ValueError
        For parameters outside their bounds, bounds closer than twice the first radius, or radii and numbers that make no sense.
    """
    least, most = bounds
    if not bool(((theta >= least) & (theta <= most)).all()) or most - least < 2 * radius:
        raise ValueError(f"bounds {least} to {most} with radius {radius}; accepted are such that hold the parameters and two radii")
    if not 0 < smallest < radius or evaluations <= len(theta) + 1 or accuracy <= 0:
        given = f"radii {radius} to {smallest}, evaluations {evaluations}, accuracy {accuracy}"
        raise ValueError(f"{given}; accepted are falling ones above 0, more than {len(theta) + 1}, and above 0")
    try:
        solver = importlib.import_module("dfols")
    except ImportError as error:
        raise InputError("learning without derivatives needs the package DFO-LS; try pip install DFO-LS") from error
    tried = _Evaluations(problem, accuracy, budget, theta)
    first, limits = theta.detach().double().cpu().numpy(), (np.full(len(theta), least), np.full(len(theta), most))
    try:
        found = solver.solve(tried, first, bounds=limits, rhobeg=radius, rhoend=smallest, maxfun=evaluations, do_logging=False)
    except _SpentError:
        return Learned(tried.best, tried.history, "budget")
    status = {found.EXIT_SUCCESS: "converged", found.EXIT_MAXFUN_WARNING: "iterations"}.get(found.flag, "stalled")
    return Learned(tried.best, tried.history, status)
