"""Training of a latent prior: rate-distortion first, then the decoder of standard deviations."""

from __future__ import annotations

import csv
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imaging.priors.base import LatentPrior
from imaging.priors.data import CropSampler
from imaging.priors.losses import random_widths, rate_distortion, std_loss, validate
from imaging.priors.pictures import write_comparison
from imaging.priors.recipe import TrainingSettings
from imaging.releases import full_precision

_LONGEST_STEP = 20.0
"""Seconds a step may count for; what is beyond was a pause."""
_MAKERS = 3
"""Processes that make batches for a GPU."""


@dataclass(frozen=True)
class _Batches(Dataset[Tensor]):
    """The batch of each step, a function of seed and step alone."""

    sampler: CropSampler
    seed: int

    def __getitem__(self, step: int) -> Tensor:
        return self.sampler.batch(np.random.default_rng([self.seed, step]))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 autocast; training and fits keep rates and the linear transform in float32 themselves."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _optimizer(model: LatentPrior, settings: TrainingSettings, std_stage: bool) -> torch.optim.Adam:
    spread = [] if model.std_decoder is None else list(model.std_decoder.parameters())
    if std_stage:
        return torch.optim.Adam([{"params": spread, "factor": 2.5}], settings.learning_rate)
    slow = model.slow_parameters()
    held = {id(p) for p in [*slow, *spread]}
    fast = [p for n, p in model.named_parameters() if id(p) not in held and not n.endswith("quantiles")]
    groups = [{"params": fast, "factor": 1.0}, {"params": slow, "factor": 0.1}]
    return torch.optim.Adam([g for g in groups if g["params"]], settings.learning_rate)


@dataclass
class Trainer:
    """Runs, interrupts and resumes a training.

    Parameters
    ----------
    model : LatentPrior
        Trained in place.
    sampler : CropSampler
        Source of training crops.
    validation : Tensor
        ``(N, C, H, W)`` images for the validation curve.
    settings : TrainingSettings
        The recipe.
    folder : Path
        Receives ``checkpoint.pt``, ``log.csv`` and ``samples.png`` (validation images, decoded, and the decoder's deviation).
    device : torch.device
        Where to train.
    compiled : bool
        Whether the networks are compiled (``torch.compile``).
    """

    model: LatentPrior
    sampler: CropSampler
    validation: Tensor
    settings: TrainingSettings
    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    compiled: bool = False

    def __post_init__(self) -> None:
        full_precision(self.device)
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.elapsed, self.std_stage = 0, 0.0, False
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.figures: dict[str, Tensor] = {}
        self.optimizer = _optimizer(self.model, self.settings, False)
        self.rate_distortion = torch.compile(rate_distortion) if self.compiled else rate_distortion

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.step, self.elapsed, self.std_stage = state["step"], state["elapsed"], state["std_stage"]
        self.optimizer = _optimizer(self.model, self.settings, self.std_stage)
        self.optimizer.load_state_dict(state["optimizer"])
        return True

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "model": self.model.state_dict(), "average": self.average, "optimizer": self.optimizer.state_dict(), "step": self.step,
            "elapsed": self.elapsed, "std_stage": self.std_stage,
        }  # fmt: skip
        temporary = self.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    @property
    def progress(self) -> float:
        """Part of the training that is done: of its steps where the recipe counts them, otherwise of its time."""
        return self.step / self.settings.steps if self.settings.steps else self.elapsed / (60 * self.settings.minutes)

    @property
    def _split(self) -> float:
        """Progress at which the decoder of standard deviations takes over."""
        return 1.0 if self.model.std_decoder is None else 1 - self.settings.std_share

    def _rate(self) -> float:
        """Learning rate before the group factors: warm-up, then cosine over the stage."""
        split = self._split
        within = (self.progress - split) / self.settings.std_share if self.std_stage else self.progress / split
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        return self.settings.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * min(1.0, within))) + 0.005)

    def _batches(self) -> Iterator[Tensor]:
        """Batches from the present step on; for a GPU they are made beside its work."""
        batches, steps = _Batches(self.sampler, self.settings.seed), itertools.count(self.step)
        if self.device.type == "cpu":
            return map(batches.__getitem__, steps)
        made = DataLoader(batches, batch_size=None, sampler=steps, num_workers=_MAKERS, prefetch_factor=4, pin_memory=True)
        return (x.to(self.device, non_blocking=True) for x in made)

    def _update(self, x: Tensor) -> None:
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)  # what a step draws does not depend on interruptions
        with autocast(self.device):
            if self.std_stage:
                loss = std_loss(self.model, x)
                self.figures = {"loss": loss.detach()}
            else:
                error, bits = self.rate_distortion(self.model, x, random_widths(self.model, len(x), self.settings.narrowest))
                loss = self.model.objective(error, bits)
                self.figures = {"loss": loss.detach(), "bits": bits.detach()}
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate() * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            present = {k: v for k, v in self.model.state_dict().items() if v.dtype.is_floating_point}
            torch._foreach_lerp_([self.average[k] for k in present], list(present.values()), 1 - decay)
        self.step += 1

    def _evaluate(self) -> dict[str, float]:
        """Validation figures of the averaged weights."""
        present = {k: v.clone() for k, v in self.model.state_dict().items()}
        torch.manual_seed(1)
        self.model.load_state_dict(self.average)
        with autocast(self.device):
            images = self.validation.to(self.device)
            figures = validate(self.model, images)
            figures["objective_half"] = validate(self.model, images, 0.5)["objective"]
            figures["std_nll"] = float(torch.stack([std_loss(self.model, x).detach() for x in images.split(4)]).mean())
            write_comparison(self.model, images[:4], self.folder / "samples.png")
        self.model.load_state_dict(present)
        return figures

    def _freeze_all_but_std(self) -> None:
        self.model.load_state_dict(self.average)
        self._open_std_alone()
        self.std_stage = True
        self.optimizer = _optimizer(self.model, self.settings, True)

    def run(self, report: Callable[[dict[str, float]], None], every: float = 60.0) -> Iterator[int]:
        """Train until the time is used up, yielding the step number; call ``report`` and save about each ``every`` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        began, last, batches = time.monotonic(), self.elapsed, self._batches()
        if self.std_stage:
            self._open_std_alone()
        while self.progress < 1:
            if not self.std_stage and self.progress >= self._split:
                self._freeze_all_but_std()
            self._update(next(batches))
            now = time.monotonic()
            self.elapsed += min(now - began, _LONGEST_STEP)
            began = now
            if self.elapsed - last > every or self.progress >= 1:
                last = self.elapsed
                figures = {k: float(v) for k, v in self.figures.items()} | self._evaluate()
                figures |= {"step": self.step, "seconds": round(self.elapsed), "rate": self._rate()}
                self._log(figures)
                self.save()
                report(figures)
            yield self.step

    def _open_std_alone(self) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith("std_decoder"))

    def _log(self, figures: dict[str, float]) -> None:
        columns = ["step", "seconds", "rate", "loss", "psnr", "bits", "objective", "objective_half", "std_nll"]
        path = self.folder / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as handle:
            writer = csv.DictWriter(handle, columns)
            if fresh:
                writer.writeheader()
            writer.writerow({c: f"{figures[c]:.6g}" for c in columns})
