"""Random crops of training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from imaging.training.images import full_scale
from imaging.training.settings import TrainingSettings


def without_haze(pixels: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A crop ``(C, H, W)`` with more contrast: less of its darkest value, for half of them a steeper tone curve; highlights reach 1.25."""
    low = np.quantile(pixels[:, ::3, ::3], 0.01, axis=(1, 2), keepdims=True)
    pixels = np.maximum(pixels - rng.uniform(0.4, 1.0) * low, 0).astype(np.float32)
    if rng.random() < 0.5:
        mean = pixels.mean() + 1e-4
        pixels = (pixels / mean) ** np.float32(rng.uniform(1.0, 1.8)) * mean
    gain = min(1.25 / max(float(pixels.max()), 1e-3), float(np.exp(rng.uniform(-0.3, 0.9))))
    return np.asarray(pixels * np.float32(gain))


@dataclass
class CropSampler(Dataset[Tensor]):
    """Random crops of training images, augmented by symmetry, band mixture, tone curve, haze and gain; the batch of each step.

    Panchromatic crops are random convex mixtures of the bands, near their mean. Images are drawn in proportion to their area.
    """

    images: Sequence[np.ndarray[Any, Any]]
    settings: TrainingSettings
    channels: int = 1
    share: np.ndarray[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        for image in self.images:
            if min(image.shape[1:]) < self.settings.crop:
                size = f"{image.shape[2]} x {image.shape[1]}"
                raise ValueError(f"an image of {size} pixels is smaller than the crop of {self.settings.crop} pixels")
            if len(image) < self.channels:
                raise ValueError(f"an image has {len(image)} bands; the model needs {self.channels}")
        area = np.array([i.shape[1] * i.shape[2] for i in self.images], dtype=float)
        self.share = area / area.sum()

    def __getitem__(self, step: int) -> Tensor:
        return self.batch(np.random.default_rng([self.settings.seed, step]))

    def crop(self, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """One float32 crop ``(channels, crop, crop)``."""
        image = self.images[int(rng.choice(len(self.images), p=self.share))]
        shrunk = self.settings.shrink > 0 and rng.random() < self.settings.shrink and min(image.shape[1:]) >= 2 * self.settings.crop
        side = self.settings.crop * (2 if shrunk else 1)
        row, column = rng.integers(0, image.shape[1] - side + 1), rng.integers(0, image.shape[2] - side + 1)
        pixels = image[:, row : row + side, column : column + side].astype(np.float32)
        pixels /= full_scale(image)
        if self.channels == 1:
            mixture = rng.dirichlet(np.full(len(pixels), 8.0)).astype(np.float32)
            pixels = np.tensordot(mixture, pixels, 1)[None]
        if shrunk:
            pixels = pixels.reshape(len(pixels), side // 2, 2, side // 2, 2).mean((2, 4))
        pixels = np.rot90(pixels[: self.channels], int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            pixels = pixels[..., ::-1]
        if self.settings.exponent != (1.0, 1.0) and rng.random() < 0.5:
            low, high = np.log(self.settings.exponent)
            pixels = pixels ** np.float32(np.exp(rng.uniform(low, high)))
        if self.settings.haze > 0 and rng.random() < self.settings.haze:
            pixels = without_haze(pixels, rng)
        low, high = np.log(self.settings.gain)
        return np.ascontiguousarray(pixels * np.float32(np.exp(rng.uniform(low, high))))

    def batch(self, rng: np.random.Generator) -> Tensor:
        """``(batch, channels, crop, crop)`` float32, channels last."""
        stacked = np.stack([self.crop(rng) for _ in range(self.settings.batch)])
        return torch.from_numpy(stacked).contiguous(memory_format=torch.channels_last)


def statistics_batch(sampler: CropSampler, count: int = 64) -> Tensor:
    """Training crops from which the statistics of latents are taken, the same in each run, ``(count, C, crop, crop)``."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([sampler.crop(rng) for _ in range(count)]))
