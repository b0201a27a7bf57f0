"""What an outer method returns: parameters, and a history of its steps."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from imaging.bilevel.maid_state import MaidState


@dataclass(frozen=True)
class Step:
    """One line of the history: after an accepted step, what it cost so far and what is known of the loss.

    Attributes
    ----------
    cost : int
        Gradients and Hessian products so far.
    low, high : float
        The exact loss lies between these.
    accuracy : float
        Distance that the lower level was solved to.
    step, gradient, slope : float
        Length of the step in units of its direction, that of the hypergradient, and their product's: what the loss falls by to first order
        for a step of length 1.
    """

    cost: int
    low: float
    high: float
    accuracy: float
    step: float
    gradient: float
    slope: float


@dataclass(frozen=True)
class Learned:
    """Result of an outer method.

    Attributes
    ----------
    theta : Tensor
        Parameters.
    history : list of Step
        Accepted steps.
    status : str
        ``converged`` (no step found at the finest accuracy, or a gradient below the tolerance), ``budget``, ``iterations``, or ``stalled``:
        hypergradients are zero or not finite at any accuracy although the loss changes with the minimisers, or a solver gave up.
    state : MaidState, optional
        What MAID needs to go on.
    """

    theta: Tensor
    history: list[Step] = field(default_factory=list)
    status: str = "iterations"
    state: MaidState | None = None

    def table(self) -> dict[str, list[float]]:
        """History by columns, named as the attributes of `Step`."""
        return {f.name: [getattr(step, f.name) for step in self.history] for f in fields(Step)}

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors, numbers and one string, for ``torch.save``."""
        rows = torch.tensor([astuple(step) for step in self.history], dtype=torch.float64).reshape(-1, len(fields(Step)))
        state = {} if self.state is None else {f"state.{name}": value for name, value in self.state.state_dict().items()}
        return {"theta": self.theta, "history": rows, "status": self.status} | state

    @classmethod
    def from_state_dict(cls, saved: dict[str, Any]) -> Learned:
        """The result that was saved."""
        history = [Step(int(cost), *rest) for cost, *rest in saved["history"].tolist()]
        state = {name.removeprefix("state."): value for name, value in saved.items() if name.startswith("state.")}
        return cls(saved["theta"], history, saved["status"], MaidState.from_state_dict(state) if state else None)
