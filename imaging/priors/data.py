"""Training images and the random crops taken from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imaging.priors.recipe import TrainingSettings


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
    """Random crops of training images, augmented by symmetry, band mixture, tone curve and gain.

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
        if self.settings.exponent != (1.0, 1.0) and rng.random() < 0.5:
            low, high = np.log(self.settings.exponent)
            pixels = pixels ** np.float32(np.exp(rng.uniform(low, high)))
        low, high = np.log(self.settings.gain)
        return np.asarray(pixels * np.float32(np.exp(rng.uniform(low, high))))

    def batch(self, rng: np.random.Generator) -> Tensor:
        """``(batch, channels, crop, crop)`` float32, channels last."""
        stacked = np.stack([self.crop(rng) for _ in range(self.settings.batch)])
        return torch.from_numpy(stacked).contiguous(memory_format=torch.channels_last)


def statistics_batch(sampler: CropSampler, count: int = 64) -> Tensor:
    """Training crops from which the statistics of latents are taken, the same in each run, ``(count, C, crop, crop)``."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([sampler.crop(rng) for _ in range(count)]))
