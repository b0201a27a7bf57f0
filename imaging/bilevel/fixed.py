"""Fixed sets of patches with noise of several levels: what MAID learns a regulariser from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import Hypergradient
from imaging.bilevel.lower_level import LIMIT, Solution, Spent
from imaging.bilevel.patches import Patches
from imaging.bilevel.problem import BilevelProblem


@dataclass(frozen=True)
class NoisyProblems:
    r"""Problems of one regulariser, each of a noise of its own, as one: a weighted mean of their losses.

    Images are one batch, those of a problem after those of the one before. Accuracies are Euclidean distances of an image divided by its
    problem's noise over the mean noise, so that faint noise is solved more finely.

    Attributes
    ----------
    problems : sequence of BilevelProblem
        Of images of one size and as many each, with one lower level between them.
    noises : sequence of float
        Standard deviations, which the regulariser is told.
    shares : sequence of float
        Weights of the losses, not negative.
    free : Tensor, optional
        ``(p,)``, one where a parameter is learned and zero where it stays what it is; all are learned by default.
    """

    problems: Sequence[BilevelProblem]
    noises: Sequence[float]
    shares: Sequence[float]
    free: Tensor | None = None

    @property
    def cost(self) -> Spent:
        """What the lower level has spent."""
        return self.problems[0].cost

    @property
    def scale(self) -> float:
        """Norm of the largest measurement."""
        return max(p.scale for p in self.problems)

    def _told(self, k: int) -> BilevelProblem:
        self.problems[k].lower.regularizer.noise = self.noises[k]
        return self.problems[k]

    def _parts(self, solution: Solution) -> list[Solution]:
        tensors = (solution.x, solution.bound, solution.iterations, solution.converged)
        return [Solution(*some) for some in zip(*(t.chunk(len(self.problems)) for t in tensors), strict=True)]

    def error(self, solution: Solution) -> Tensor:
        """Gradient of each image's loss times the share of its problem."""
        return torch.cat([s * p.error(part) for p, s, part in zip(self.problems, self.shares, self._parts(solution), strict=True)])

    def loss(self, solution: Solution) -> float:
        """Loss at approximate minimisers."""
        parts = self._parts(solution)
        return sum(s * p.loss(part) for p, s, part in zip(self.problems, self.shares, parts, strict=True)) / len(parts)

    def interval(self, solution: Solution) -> tuple[float, float]:
        """The exact loss lies between these two."""
        parts = self._parts(solution)
        ends = [p.interval(part) for p, part in zip(self.problems, parts, strict=True)]
        low, high = (sum(s * e[k] for s, e in zip(self.shares, ends, strict=True)) / len(parts) for k in (0, 1))
        return low, high

    def solve(self, theta: Tensor, accuracy: float | Tensor, start: Tensor | None = None, limit: int = LIMIT) -> Solution:
        """Minimisers of all images."""
        mean, count = sum(self.noises) / len(self.noises), len(self.problems)
        starts = [None] * count if start is None else list(start.chunk(count))
        found = [self._told(k).solve(theta, accuracy * self.noises[k] / mean, starts[k], limit) for k in range(count)]
        return Solution(*(torch.cat(some) for some in zip(*((f.x, f.bound, f.iterations, f.converged) for f in found), strict=True)))

    def hypergradient(self, solution: Solution, theta: Tensor, tolerance: float, start: Tensor | None = None) -> Hypergradient:
        """Derivative of the loss; adjoints and residuals are those of each problem by itself."""
        parts, count = self._parts(solution), len(self.problems)
        starts = [None] * count if start is None else list(start.chunk(count))
        found = [self._told(k).hypergradient(parts[k], theta, tolerance, starts[k]) for k in range(count)]
        z = torch.stack([s * f.z for s, f in zip(self.shares, found, strict=True)]).mean(0)
        z = z if self.free is None else z * self.free.to(z)
        rest = ((f.adjoint, f.residual, f.indefinite, f.converged, f.length) for f in found)
        return Hypergradient(z, *(torch.cat(some) for some in zip(*rest, strict=True)))

    def double(self) -> NoisyProblems:
        """The same in float64, with a cost of its own."""
        cost = Spent()
        return replace(self, problems=[replace(d, lower=replace(d.lower, cost=cost)) for d in (p.double() for p in self.problems)])


def fixed(patches: Patches, count: int, theta: Tensor, free: Tensor | None = None, accuracy: float = 1e-3) -> NoisyProblems:
    """The problems of the first so many steps, whose losses count alike at some parameters.

    Parameters
    ----------
    patches : Patches
        Their problems are kept, with the noise that was drawn.
    count : int
        How many.
    theta : Tensor
        Where each loss is divided by itself.
    free : Tensor, optional
        As for `NoisyProblems`.
    accuracy : float
        Root mean square distance of a pixel that the losses there are known to.
    """
    problems, noises, shares = [], [], []
    for step in range(count):
        problem = patches(step)
        side = problem.measured.shape[-1]
        problems.append(problem)
        noises.append(patches.lower.regularizer.noise)
        shares.append(1 / problem.loss(problem.solve(theta, accuracy * side)))
    return NoisyProblems(problems, noises, shares, free)
