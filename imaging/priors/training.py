"""Training of a latent prior: rate-distortion first, then the decoder of standard deviations."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.data import CropSampler
from imaging.priors.recipe import TrainingSettings

_LONGEST_STEP = 20.0
"""Seconds a step may count for; what is beyond was a pause."""


def _inner(x: Tensor, border: int) -> Tensor:
    return x[..., border:-border, border:-border]


def random_widths(model: LappedAutoencoder, count: int, narrowest: float) -> Tensor:
    """Widths of the latents' densities as a measurement would leave them, ``(count, M, 1, 1)``, at most 1.

    A sensor of Gaussian MTF narrows the posterior of a latent in proportion to what it passes of the latent's frequency. The MTF at
    Nyquist is drawn from 0.1 to 0.6, the width at frequency zero log-uniformly from ``narrowest`` to 1.
    """
    exponent = model.squared_frequency().to(next(model.parameters()).device)[None]
    nyquist = torch.empty(count, 1, device=exponent.device).uniform_(0.1, 0.6)
    base = torch.empty_like(nyquist).uniform_(math.log(narrowest), 0.0).exp()
    return (base * nyquist**-exponent).clamp(max=1.0)[..., None, None]


def rate_distortion(model: LappedAutoencoder, x: Tensor, widths: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean squared error away from the border, and bits per pixel, of one noisy pass.

    Parameters
    ----------
    model : LappedAutoencoder
        Encodes and decodes.
    x : Tensor
        ``(B, C, H, W)`` images.
    widths : Tensor or float
        Of the uniform density of each main latent, broadcastable to ``(B, M, h, w)``; 1 stands for quantisation. The entropy of narrower
        densities, which no weight can change, is left out of the bits.
    """
    latents = model.encode(x)
    z = latents.z + widths * (torch.rand_like(latents.z) - 0.5)
    h = latents.h + torch.rand_like(latents.h) - 0.5
    error = _inner(model.decode(z).float() - x, model.border).square().mean()
    bits = -model.log_prob(z, h).sum() / (math.log(2) * len(x) * x.shape[2] * x.shape[3])
    return error, bits


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 autocast; training and fits keep rates and the linear transform in float32 themselves."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


@torch.no_grad()
def validate(model: LappedAutoencoder, images: Tensor, gain: float = 1.0) -> dict[str, float]:
    """PSNR (at the original radiometry), bits per pixel and objective J over validation images ``(N, C, H, W)``."""
    error = bits = 0.0
    for x in images.split(4):
        e, b = rate_distortion(model, x * gain)
        error += float(e) * len(x) / len(images)
        bits += float(b) * len(x) / len(images)
    alpha = float(model.settings["alpha"])
    return {"psnr": -10 * math.log10(error / gain**2), "bits": bits, "objective": alpha * 255**2 * error + bits}


def _std_loss(model: LappedAutoencoder, x: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of the decoder's error, with only the standard deviation open to learning."""
    with torch.no_grad():
        z = model.encode(x).z
        z = z + torch.rand_like(z) - 0.5
        error = model.decode(z).float() - x
    scale = model.decode_std(z)
    return _inner((error / scale).square() / 2 + scale.log(), model.border).mean()


def _optimizer(model: LappedAutoencoder, settings: TrainingSettings, std_stage: bool) -> torch.optim.Adam:
    if std_stage:
        return torch.optim.Adam([{"params": list(model.std_decoder.parameters()), "factor": 2.5}], settings.learning_rate)
    slow = [model.analysis.weight, model.synthesis.weight]
    held = {id(p) for p in slow} | {id(p) for p in model.std_decoder.parameters()}
    fast = [p for n, p in model.named_parameters() if id(p) not in held and not n.endswith("quantiles")]
    return torch.optim.Adam([{"params": fast, "factor": 1.0}, {"params": slow, "factor": 0.1}], settings.learning_rate)


@dataclass
class Trainer:
    """Runs, interrupts and resumes a training.

    Parameters
    ----------
    model : LappedAutoencoder
        Trained in place.
    sampler : CropSampler
        Source of training crops.
    validation : Tensor
        ``(N, C, H, W)`` images for the validation curve.
    settings : TrainingSettings
        The recipe.
    folder : Path
        Receives ``checkpoint.pt`` and ``log.csv``.
    """

    model: LappedAutoencoder
    sampler: CropSampler
    validation: Tensor
    settings: TrainingSettings
    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.elapsed, self.std_stage = 0, 0.0, False
        self.rng = np.random.default_rng(self.settings.seed)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimizer = _optimizer(self.model, self.settings, False)

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
        torch.set_rng_state(state["torch_rng"].cpu())
        self.rng = np.random.default_rng([self.settings.seed, self.step])
        return True

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "model": self.model.state_dict(), "average": self.average, "optimizer": self.optimizer.state_dict(), "step": self.step,
            "elapsed": self.elapsed, "std_stage": self.std_stage, "torch_rng": torch.get_rng_state(),
        }  # fmt: skip
        temporary = self.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def _rate(self) -> float:
        """Learning rate before the group factors: warm-up, then cosine over the stage's time."""
        split = 1 - self.settings.std_share
        progress = self.elapsed / (60 * self.settings.minutes)
        within = (progress - split) / self.settings.std_share if self.std_stage else progress / split
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        return self.settings.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * min(1.0, within))) + 0.005)

    def _update(self, x: Tensor) -> dict[str, float]:
        with autocast(self.device):
            if self.std_stage:
                loss = _std_loss(self.model, x)
                figures = {"loss": float(loss.detach())}
            else:
                error, bits = rate_distortion(self.model, x, random_widths(self.model, len(x), self.settings.narrowest))
                loss = float(self.model.settings["alpha"]) * 255**2 * error + bits
                figures = {"loss": float(loss.detach()), "bits": float(bits.detach())}
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate() * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[name].lerp_(value, 1 - decay)
        self.step += 1
        return figures

    def _evaluate(self) -> dict[str, float]:
        """Validation figures of the averaged weights."""
        present = {k: v.clone() for k, v in self.model.state_dict().items()}
        rng = torch.get_rng_state()
        torch.manual_seed(1)
        self.model.load_state_dict(self.average)
        with autocast(self.device):
            images = self.validation.to(self.device)
            figures = validate(self.model, images)
            figures["objective_half"] = validate(self.model, images, 0.5)["objective"]
            figures["std_nll"] = float(torch.stack([_std_loss(self.model, x).detach() for x in images.split(4)]).mean())
        self.model.load_state_dict(present)
        torch.set_rng_state(rng)
        return figures

    def _freeze_all_but_std(self) -> None:
        self.model.load_state_dict(self.average)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith("std_decoder"))
        self.std_stage = True
        self.optimizer = _optimizer(self.model, self.settings, True)

    def run(self, report: Callable[[dict[str, float]], None], every: float = 60.0) -> Iterator[int]:
        """Train until the time is used up, yielding the step number; call ``report`` and save about each ``every`` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        budget, began, last = 60 * self.settings.minutes, time.monotonic(), self.elapsed
        if self.std_stage:
            self._freeze_parameters_for_resume()
        while self.elapsed < budget:
            if not self.std_stage and self.elapsed >= budget * (1 - self.settings.std_share):
                self._freeze_all_but_std()
            figures = self._update(self.sampler.batch(self.rng).to(self.device))
            now = time.monotonic()
            self.elapsed += min(now - began, _LONGEST_STEP)
            began = now
            if self.elapsed - last > every or self.elapsed >= budget:
                last = self.elapsed
                figures |= {"step": self.step, "seconds": round(self.elapsed), "rate": self._rate()} | self._evaluate()
                self._log(figures)
                self.save()
                report(figures)
            yield self.step

    def _freeze_parameters_for_resume(self) -> None:
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
