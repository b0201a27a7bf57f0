"""A training that can be interrupted: its batches, steps and clock, its average of weights, its checkpoint, its log."""

from __future__ import annotations

import csv
import itertools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from imaging.parallel import average_gradients, of_the_first, place
from imaging.training.settings import TrainingSettings

_LONGEST_STEP = 20.0
"""Seconds a step may count for; what is beyond was a pause."""


def _modest(_: int) -> None:
    """A process that makes batches takes one thread, and lets others go first."""
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(5)


class InterruptibleTraining(ABC):
    """Runs, interrupts and resumes a training.

    Parameters
    ----------
    model : Module
        Trained in place.
    settings : TrainingSettings
        Time or steps, learning rate, average.
    source : Dataset
        The batch of each step, a tensor or a dict of them, as a function of the step alone.
    folder : Path
        Receives ``checkpoint.pt`` and ``log.csv``.
    device : torch.device
        Where to train.
    makers : int
        Processes that make batches beside the training; 0 makes them in between.

    Attributes
    ----------
    step, elapsed : int, float
        Steps made, and their seconds without interruptions.
    average : dict
        Averaged weights, which are evaluated and released.
    optimizers, parameters : list
        What steps, each group with its ``factor`` on the learning rate, and what is trained; given by the class of a training.
    """

    optimizers: list[torch.optim.Optimizer]
    parameters: list[nn.Parameter]

    def __init__(
        self, model: nn.Module, settings: TrainingSettings, source: Dataset[Any], folder: Path, device: torch.device, makers: int
    ) -> None:  # fmt: skip
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings, self.source, self.folder, self.device, self.makers = settings, source, folder, device, makers
        self.step, self.elapsed = 0, 0.0
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @abstractmethod
    def decline(self) -> float:
        """Factor on the learning rate after the warm-up."""

    @abstractmethod
    def update(self, batch: Any) -> dict[str, Tensor]:
        """One step; figures of the batch, detached."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Figures of the model as it is, on validation scenes."""

    @property
    def progress(self) -> float:
        """Part of the training that is done: of its steps where the recipe counts them, otherwise of its time."""
        return self.step / self.settings.steps if self.settings.steps else self.elapsed / (60 * self.settings.minutes)

    def rate(self) -> float:
        """Learning rate of the coming step, before the groups' factors: linear warm-up, then `decline`."""
        return self.settings.learning_rate * min(1.0, (self.step + 1) / self.settings.warmup) * self.decline()

    def descend(self, loss: Tensor) -> None:
        """One step of the optimizers; none where the gradient is not finite."""
        rate = self.rate()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.parameters)
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)):
            for optimizer in self.optimizers:
                optimizer.step()

    def batches(self) -> Iterator[Any]:
        """Batches from the present step on, on the device."""
        number, together = place()
        steps = itertools.count(self.step * together + number, together)
        if not self.makers:
            return (self._moved(self.source[k]) for k in steps)
        made = DataLoader(
            self.source, batch_size=None, sampler=steps, num_workers=self.makers, prefetch_factor=4, worker_init_fn=_modest,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip
        return map(self._moved, made)

    def _moved(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            return {k: self._moved(v) for k, v in batch.items()}
        return batch.to(self.device, non_blocking=True)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            self.restore(torch.load(path, map_location=self.device, weights_only=True))
        return path.exists()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; those of earlier versions had one optimizer, or no factors."""
        self.model.load_state_dict(state["model"])
        self.average, self.step, self.elapsed = state["average"], state["step"], state["elapsed"]
        for optimizer, stored in zip(self.optimizers, state.get("optimizers") or [state["optimizer"]], strict=True):
            groups = zip(optimizer.state_dict()["param_groups"], stored["param_groups"], strict=True)
            optimizer.load_state_dict(stored | {"param_groups": [own | group for own, group in groups]})

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(), "average": self.average, "step": self.step, "elapsed": self.elapsed,
            "optimizers": [o.state_dict() for o in self.optimizers],
        }  # fmt: skip

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        temporary = self.folder / "checkpoint.tmp"
        torch.save(self.state(), temporary)
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
                    row = {"step": self.step, "seconds": round(self.elapsed), "rate": self.rate()}
                    row |= {k: float(v) / count for k, v in sums.items()} | self._averaged()
                    self._log(row)
                    self.save()
                    report(row)
                sums, count = {}, 0
                began = time.monotonic()
            yield self.step

    @torch.no_grad()
    def _track(self) -> None:
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
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
        columns = path.read_text().splitlines()[0].split(",") if path.exists() else list(figures)
        with path.open("a", newline="") as handle:
            writer = csv.DictWriter(handle, columns, extrasaction="ignore")
            if not handle.tell():
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" for k, v in figures.items()})
