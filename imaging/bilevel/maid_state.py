"""Where MAID stands: what the next step depends on, to be saved and gone on from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from imaging.bilevel.lower_level import Solution

_PLAIN = ("theta", "accuracy", "tolerance", "step", "adjoint", "weight", "average", "cost", "again", "effort", "first")


@dataclass(frozen=True)
class MaidState:
    """Where MAID stands after an accepted step: all that the next one depends on.

    ``accuracy`` is that of the lower level, ``tolerance`` that of the linear solves, and ``adjoint`` their last solution, of the
    minimisers' shape. The ``step`` along the hypergradient is to be tried next, or ``again`` where one was refused for want of accuracy.
    ``behind`` are the parameters before the last step and the hypergradient there, ``pairs`` earlier steps and the changes of the
    hypergradient that they made, each ``(k, p)``, and ``first`` is the length of the first hypergradient. ``weight`` is that of the earlier
    losses together, ``average`` a number below their average, ``cost`` what was spent, and ``effort`` the most iterations of an image that
    a solve has needed so far.
    """

    theta: Tensor
    solution: Solution
    accuracy: float
    tolerance: float
    step: float | None
    adjoint: Tensor | None = None
    behind: tuple[Tensor, Tensor] | None = None
    weight: float = 0.0
    average: float = 0.0
    cost: int = 0
    pairs: tuple[Tensor, Tensor] | None = None
    again: float | None = None
    effort: int = 0
    first: float = 0.0

    def below(self, low: float, memory: float) -> float:
        """A number below the average of the losses, from the lower end of the present one's interval.

        The average of exact losses is never less than the last of them, so that the lower end itself is below it too.
        """
        weight = memory * self.weight
        return max(low, (weight * self.average + low) / (weight + 1))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers; what there is none of is left out."""
        flat = {name: getattr(self, name) for name in _PLAIN}
        flat |= {f"solution.{f.name}": getattr(self.solution, f.name) for f in fields(Solution)}
        if self.behind is not None:
            flat |= dict(zip(("behind.theta", "behind.gradient"), self.behind, strict=True))
        if self.pairs is not None:
            flat |= dict(zip(("pairs.steps", "pairs.changes"), self.pairs, strict=True))
        return {name: value for name, value in flat.items() if value is not None}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> MaidState:
        """The state that was saved."""
        plain = {f.name: state[f.name] for f in fields(cls) if f.name in state}
        behind = (state["behind.theta"], state["behind.gradient"]) if "behind.theta" in state else None
        pairs = (state["pairs.steps"], state["pairs.changes"]) if "pairs.steps" in state else None
        solution = Solution(**{f.name: state[f"solution.{f.name}"] for f in fields(Solution)})
        return cls(**{"step": None} | plain, solution=solution, behind=behind, pairs=pairs)
