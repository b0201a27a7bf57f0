"""Settings of MAID."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MaidSettings:
    """Settings of MAID.

    Attributes
    ----------
    accuracy : float
        First distance of the lower level, Euclidean, for each image.
    tolerance : float
        First and largest tolerance of the linear solves, relative to the loss gradient, below 1.
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
    adaptive : bool
        Whether a step that is refused tells what to try next, see `maid`; otherwise each is halved, and accuracies change by fixed factors.
    coarsest : float
        A trial is first solved to so many times the accuracy, and finer only while that does not decide; 1 solves each trial at once.
    pairs : int
        Steps and changes of the hypergradient that the direction is made from, see `maid`; 0 descends along the hypergradient.
    barzilai_borwein : bool
        Whether the first step tried follows the curvature that the last two hypergradients saw, see `maid`; without ``pairs``.
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
    adaptive: bool = True
    coarsest: float = 64.0
    pairs: int = 0
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
        if self.accuracy <= 0 or self.trials < 1 or self.coarsest < 1 or self.pairs < 0:
            given = f"accuracy {self.accuracy}, trials {self.trials}, coarsest {self.coarsest}, pairs {self.pairs}"
            raise ValueError(f"{given}; accepted are numbers above 0, from 1, from 1 and from 0")
