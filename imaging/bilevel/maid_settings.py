"""Settings of MAID."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MaidSettings:
    r"""Settings of MAID.

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
        Whether a step that is refused tells what to try next; otherwise each is halved, and accuracies change by fixed factors.
    coarsest : float
        A trial is first solved to so many times the accuracy, and finer only while that does not decide; 1 solves each trial at once.
    pairs : int
        Steps and changes of the hypergradient that the direction is made from; 0 descends along the hypergradient.
    barzilai_borwein : bool
        Whether the first step tried follows the curvature that the last two hypergradients saw; without ``pairs``.
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
