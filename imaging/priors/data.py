"""Training images and the random crops taken from them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imaging.errors import InputError
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


def find_images(sources: Sequence[Path], patterns: Sequence[str], spare: Mapping[str, int] | None = None) -> list[np.ndarray[Any, Any]]:
    """Training images that match patterns, in a stable order; one that several patterns match comes several times.

    Parameters
    ----------
    sources : sequence of Path
        One folder below which images lie, or the parts of a packed training set, see `write_pack`.
    patterns : sequence of str
        Such as ``naip/train/*.webp``.
    spare : mapping, optional
        From patterns to a number n: every n-th image that the pattern matches, in sorted order, is left out, for tests.

    Raises
    ------
    FileNotFoundError
        When nothing matches a pattern.
    """
    found = []
    for pattern in patterns:
        matches: list[np.ndarray[Any, Any]] = []
        for source in sources:
            if source.is_dir():
                matches += [read_image(p) for p in sorted(source.glob(pattern))]
            else:
                with np.load(source, allow_pickle=False) as pack:
                    matches += [pack[name] for name in sorted(pack.files) if fnmatchcase(name, pattern)]
        if not matches:
            raise FileNotFoundError(f"no image matches {pattern} in {', '.join(map(str, sources))}")
        every = (spare or {}).get(pattern, 0)
        found += [image for k, image in enumerate(matches) if not every or k % every != every - 1]
    return found


def write_pack(folder: Path, patterns: Sequence[str], target: Path, limit: int) -> list[Path]:
    """Pack images into compressed ``.npz`` files that need neither the folder nor an image library to be read.

    Parameters
    ----------
    folder : Path
        Where the patterns start.
    patterns : sequence of str
        Of the images; one that several match is packed once.
    target : Path
        Of the first part; the others get ``-1``, ``-2`` and so on before the suffix.
    limit : int
        Bytes of a part; an image larger than that gets a part of its own.

    Returns
    -------
    list of Path
        The parts.
    """
    names = dict.fromkeys(p.relative_to(folder).as_posix() for pattern in patterns for p in sorted(folder.glob(pattern)))
    parts: list[Path] = []
    pending: dict[str, np.ndarray[Any, Any]] = {}

    def flush() -> None:
        path = target.with_stem(target.stem + (f"-{len(parts)}" if parts else ""))
        np.savez_compressed(path, **pending)  # type: ignore[arg-type]
        parts.append(path)
        pending.clear()

    size = 0
    for name in names:
        image = read_image(folder / name)
        packed = len(zlib.compress(image.tobytes(), 6)) + 512
        if pending and size + packed > limit:
            flush()
            size = 0
        pending[name] = image
        size += packed
    if pending:
        flush()
    return parts


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
class CropSampler:
    """Random crops of training images, augmented by symmetry, band mixture, tone curve, haze and gain.

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

    def crop(self, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """One float32 crop ``(channels, crop, crop)``."""
        image = self.images[int(rng.choice(len(self.images), p=self.share))]
        shrunk = self.settings.shrink > 0 and rng.random() < self.settings.shrink and min(image.shape[1:]) >= 2 * self.settings.crop
        side = self.settings.crop * (2 if shrunk else 1)
        row, column = rng.integers(0, image.shape[1] - side + 1), rng.integers(0, image.shape[2] - side + 1)
        pixels = image[:, row : row + side, column : column + side].astype(np.float32)
        pixels /= 4095.0 if image.dtype == np.uint16 else 255.0
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


def validation_images(images: Sequence[np.ndarray[Any, Any]], channels: int) -> Tensor:
    """Validation tiles ``(N, channels, 256, 256)`` in [0, 1]: the mean of the bands for one channel, otherwise the first bands.

    Images of another size are left out.

    Raises
    ------
    InputError
        When all of them are.
    """
    full = [4095.0 if i.dtype == np.uint16 else 255.0 for i in images]
    tiles = [
        (i.astype(np.float32).mean(0)[None] if channels == 1 else i[:channels].astype(np.float32)) / f
        for i, f in zip(images, full, strict=True)
    ]
    whole = [t for t in tiles if t.shape[1:] == (256, 256)]
    if not whole:
        sizes = ", ".join(sorted({f"{t.shape[1]} x {t.shape[2]}" for t in tiles})) or "none"
        raise InputError(f"validation images must have 256 x 256 pixels; given are {sizes}: cut them, or name others in the recipe")
    return torch.from_numpy(np.stack(whole))
