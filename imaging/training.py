"""A training that can be interrupted: its clock, its average of weights, its checkpoint, its log."""

from __future__ import annotations

import csv
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imaging.parallel import of_the_first, place

_LONGEST_STEP = 20.0
"""Seconds a step may count for; what is beyond was a pause."""


class InterruptibleTraining(ABC):
    """Runs, interrupts and resumes a training.

    Parameters
    ----------
    model : Module
        Trained in place.
    folder : Path
        Receives ``checkpoint.pt`` and ``log.csv``.
    device : torch.device
        Where to train.
    minutes : float
        How long; unused where ``steps`` is given.
    steps : int
        How many steps; a resumed training then ends in the same weights as an uninterrupted one.
    decay : float
        Of the exponential moving average of the weights.

    Attributes
    ----------
    step, elapsed : int, float
        Steps made, and their seconds without interruptions.
    average : dict
        Averaged weights, which are evaluated and released.
    """

    def __init__(self, model: nn.Module, folder: Path, device: torch.device, *, minutes: float, steps: int, decay: float) -> None:
        self.model, self.folder, self.device = model, folder, device
        self.minutes, self.steps, self.decay = minutes, steps, decay
        self.step, self.elapsed = 0, 0.0
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @abstractmethod
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Whose state belongs into the checkpoint."""

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """Batches from the present step on."""

    @abstractmethod
    def update(self, batch: Any) -> dict[str, Tensor]:
        """One step of the optimizers; figures of the batch, detached."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Figures of the model as it is, on validation scenes."""

    @property
    def progress(self) -> float:
        """Part of the training that is done."""
        return self.step / self.steps if self.steps else self.elapsed / (60 * self.minutes)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average, self.step, self.elapsed = state["average"], state["step"], state["elapsed"]
        for optimizer, stored in zip(self.optimizers(), state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        return True

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "model": self.model.state_dict(), "average": self.average, "step": self.step, "elapsed": self.elapsed,
            "optimizers": [o.state_dict() for o in self.optimizers()],
        }  # fmt: skip
        temporary = self.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def run(self, report: Callable[[dict[str, float]], None], every: float = 60.0) -> Iterator[int]:
        """Train until all is done, yielding the step number; evaluate, log, save and call ``report`` about each ``every`` seconds.

        Of processes that train together the first does all but the steps, and its clock is everyone's.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        first = place()[0] == 0
        began, last, batches = time.monotonic(), self.elapsed, self.batches()
        sums: dict[str, Tensor] = {}
        count = 0
        while self.progress < 1:
            figures = self.update(next(batches))
            sums, count = {k: v + sums.get(k, 0.0) for k, v in figures.items()}, count + 1
            self._track()
            now = time.monotonic()
            self.elapsed = of_the_first(self.elapsed + min(now - began, _LONGEST_STEP))
            began = now
            if self.elapsed - last > every or self.progress >= 1:
                last = self.elapsed
                if first:
                    row = {"step": self.step, "seconds": round(self.elapsed)} | {k: float(v) / count for k, v in sums.items()}
                    row |= self._averaged()
                    self._log(row)
                    self.save()
                    report(row)
                sums, count = {}, 0
                began = time.monotonic()
            yield self.step

    @torch.no_grad()
    def _track(self) -> None:
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        present = {k: v for k, v in self.model.state_dict().items() if v.dtype.is_floating_point}
        torch._foreach_lerp_([self.average[k] for k in present], list(present.values()), 1 - decay)
        self.step += 1

    def _averaged(self) -> dict[str, float]:
        """Figures of the averaged weights."""
        present = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        figures = self.evaluate()
        self.model.load_state_dict(present)
        return figures

    def _log(self, figures: dict[str, float]) -> None:
        path = self.folder / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as handle:
            writer = csv.DictWriter(handle, list(figures))
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" for k, v in figures.items()})
