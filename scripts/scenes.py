"""True scenes from the data folder, ``(bands, H, W)`` in [0, 1], by name; the first word of a name is the kind of scene.

A truth has `MARGIN` pixels on each side that are not measured.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.training import read_image

Array = NDArray[Any]
Scenes = dict[str, Array]
Image = TypeVar("Image", Array, Tensor)

FULL = 4095.0
"""DN of 1 in the frames, and of the benchmarks' sensors."""
MARGIN = 8
TEST = range(20, 32)
SPLIT: dict[str, Collection[int]] = {
    "validation": [k for k in range(10) if k not in (4, 7)],
    "calibration": [k for k in (*range(10, 20), *range(32, 40)) if k not in (13, 34, 37)],
    "test": TEST,
}
"""Numbers of the tiles of naip_rgbn_60cm/val for what an inference network is validated, calibrated and tested with."""
FRAMES = {"validation": slice(0, 3), "calibration": slice(3, 5)}
"""Frames of drone_linear12/val for the same."""
HELD_OUT = ("garfield_x4_IMG_161122_163234_0000_RGB.tif", "garfield_x4_IMG_161122_164703_0136_RGB.tif")
"""Frames of a source that no model was trained on, for tests."""


def chosen(image: Array, bands: int) -> Array:
    """Panchromatic mean or first bands, ``(bands, H, W)`` float32."""
    image = image.astype(np.float32)
    return image.mean(0, keepdims=True) if bands == 1 else image[:bands]


def middle(image: Image, side: int) -> Image:
    """Middle ``side`` x ``side`` pixels of ``(..., H, W)``."""
    row, column = ((n - side) // 2 for n in image.shape[-2:])
    return image[..., row : row + side, column : column + side]


def coarse(image: Array) -> Array:
    """Means over 2 x 2 pixels of ``(bands, H, W)``: half the resolution."""
    return np.asarray(image.reshape(len(image), image.shape[1] // 2, 2, image.shape[2] // 2, 2).mean((2, 4)))


def grey(image: Array) -> Tensor:
    """``(H, W)`` in [0, 1]: luminance of three bands of 8 bits, otherwise the mean of the bands."""
    full = FULL if image.dtype == np.uint16 else 255.0
    pixels = image.astype(np.float32) / full
    if len(pixels) == 3 and image.dtype == np.uint8:
        return torch.einsum("b,bhw->hw", torch.tensor([0.299, 0.587, 0.114]), torch.from_numpy(pixels))
    return torch.from_numpy(pixels.mean(0))


def middles(images: list[Tensor], side: int) -> Tensor:
    """Middles of grey images, ``(N, 1, side, side)``."""
    return torch.stack([middle(i, side) for i in images])[:, None]


def tiles(data: Path, numbers: Collection[int], bands: int = 1, part: str = "val") -> Scenes:
    """NAIP tiles of 0.6 m."""
    paths = sorted((data / "naip_rgbn_60cm" / part).glob("*.webp"))
    return {f"tile {k}": chosen(read_image(p), bands) / 255 for k, p in enumerate(paths) if k in numbers}


def fine(data: Path, bands: int = 1) -> Scenes:
    """Six USGS tiles of 0.3 m: training images of the released priors, but not of the inference networks; they have no fourth band."""
    paths = sorted((data / "usgs_rgb_30cm" / "train").glob("*.webp"))[7::8][:6] if bands <= 3 else []
    return {f"fine {k}": middle(chosen(read_image(p), bands) / 255, 256) for k, p in enumerate(paths)}


def frames(data: Path, bands: int = 1, use: str = "test") -> Scenes:
    """Middles of drone frames in linear light, 512 x 512 measured pixels; they have no fourth band."""
    folder = data / "drone_linear12"
    paths = [folder / "train" / name for name in HELD_OUT] if use == "test" else sorted((folder / "val").glob("*.tif"))[FRAMES[use]]
    side = 512 + 2 * MARGIN
    found = {f"frame {k}": middle(chosen(read_image(p), bands) / FULL, side) for k, p in enumerate(paths if bands <= 3 else [])}
    return {k: np.ascontiguousarray(x) for k, x in found.items()}


def of_split(data: Path, use: str, bands: int = 1) -> Scenes:
    """Tiles, two of them at a fifth of their brightness, two squared, frames, and of tests also tiles of 0.3 m."""
    plain = tiles(data, SPLIT[use], bands)
    first = [name.split()[1] for name in plain][:4]
    dark = {f"dark {k}": np.float32(0.2) * plain[f"tile {k}"] for k in first[0::2]}
    linear = {f"linear {k}": plain[f"tile {k}"] ** 2 for k in first[1::2]}
    return plain | dark | linear | frames(data, bands, use) | (fine(data, bands) if use == "test" else {})
