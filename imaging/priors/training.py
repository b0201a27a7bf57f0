"""Training of a latent prior: rate-distortion first, then the decoder of standard deviations."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.priors.autoencoders import LappedAutoencoder


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What one training run does.

    Attributes
    ----------
    minutes : float
        Wall-clock training time, interruptions not counted; the learning-rate schedule follows it.
    batch, crop : int
        Images per step and their side in pixels, a multiple of 32.
    learning_rate : float
        Peak rate of Adam; the block transform itself gets a tenth of it.
    warmup : int
        Steps of linear warm-up.
    average : float
        Decay of the exponential moving average of the weights that is released.
    gain : tuple of float
        Range of the random radiometric gain, drawn log-uniformly.
    std_share : float
        Share of the time given to the decoder of standard deviations, at the end.
    seed : int
        Of crops, augmentation and noise.
    """

    minutes: float = 60.0
    batch: int = 8
    crop: int = 128
    learning_rate: float = 4e-4
    warmup: int = 200
    average: float = 0.999
    gain: tuple[float, float] = (0.25, 1.2)
    std_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.crop % 32:
            raise ValueError(f"crop is {self.crop}; it must be a multiple of 32")
        if not 0 < self.gain[0] <= self.gain[1]:
            raise ValueError(f"gain is {list(self.gain)}; it must be two positive numbers in ascending order")

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> TrainingSettings:
        """Settings from a recipe's ``[training]`` table; unknown keys are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(table) - known)
        if unknown:
            raise ValueError(f"unknown training setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def read_image(path: Path) -> np.ndarray[Any, Any]:
    """Read a training image as ``(bands, H, W)`` integers: 8-bit through Pillow (alpha taken as near-infrared), GeoTIFF as 12-bit."""
    if path.suffix.lower() in {".tif", ".tiff"}:
        import rasterio

        with rasterio.open(path) as source:
            return np.asarray(source.read())
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


@dataclass
class CropSampler:
    """Random crops of training images, augmented by symmetry, band mixture and gain.

    Panchromatic crops are random convex mixtures of the bands, near their mean. Images are drawn in proportion to their area.
    """

    paths: list[Path]
    settings: TrainingSettings
    channels: int = 1
    images: list[np.ndarray[Any, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.images = [read_image(p) for p in self.paths]
        too_small = [p for p, i in zip(self.paths, self.images, strict=True) if min(i.shape[1:]) < self.settings.crop]
        if too_small:
            raise ValueError(f"{too_small[0]} is smaller than the crop of {self.settings.crop} pixels")
        area = np.array([i.shape[1] * i.shape[2] for i in self.images], dtype=float)
        self.share = area / area.sum()

    def crop(self, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """One float32 crop ``(channels, crop, crop)``."""
        image = self.images[int(rng.choice(len(self.images), p=self.share))]
        side = self.settings.crop
        row, column = rng.integers(0, image.shape[1] - side + 1), rng.integers(0, image.shape[2] - side + 1)
        pixels = image[:, row : row + side, column : column + side].astype(np.float32)
        pixels /= 4095.0 if image.dtype == np.uint16 else 255.0
        if self.channels == 1:
            mixture = rng.dirichlet(np.full(len(pixels), 8.0)).astype(np.float32)
            pixels = np.tensordot(mixture, pixels, 1)[None]
        elif len(pixels) < self.channels:
            raise ValueError(f"an image has {len(pixels)} bands; the model needs {self.channels}")
        pixels = np.rot90(pixels[: self.channels], int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            pixels = pixels[..., ::-1]
        low, high = np.log(self.settings.gain)
        return np.asarray(pixels * np.float32(np.exp(rng.uniform(low, high))))

    def batch(self, rng: np.random.Generator) -> Tensor:
        """``(batch, channels, crop, crop)`` float32, channels last."""
        stacked = np.stack([self.crop(rng) for _ in range(self.settings.batch)])
        return torch.from_numpy(stacked).contiguous(memory_format=torch.channels_last)


def _inner(x: Tensor, border: int) -> Tensor:
    return x[..., border:-border, border:-border]


def rate_distortion(model: LappedAutoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error away from the border, and bits per pixel, of one noisy pass."""
    latents = model.encode(x)
    z = latents.z + torch.rand_like(latents.z) - 0.5
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
                error, bits = rate_distortion(self.model, x)
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
        budget, began, last = 60 * self.settings.minutes, time.monotonic() - self.elapsed, self.elapsed
        if self.std_stage:
            self._freeze_parameters_for_resume()
        while self.elapsed < budget:
            if not self.std_stage and self.elapsed >= budget * (1 - self.settings.std_share):
                self._freeze_all_but_std()
            figures = self._update(self.sampler.batch(self.rng).to(self.device))
            self.elapsed = time.monotonic() - began
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


def statistics_batch(sampler: CropSampler, count: int = 64) -> Tensor:
    """Unaugmented-gain crops from which latent statistics are taken, ``(count, C, crop, crop)``."""
    rng = np.random.default_rng(0)
    crops = [sampler.crop(rng) for _ in range(count)]
    return F.pad(torch.from_numpy(np.stack(crops)), (0, 0, 0, 0))
