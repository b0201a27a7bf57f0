"""What true scenes are, and what is cut and averaged from images; which images are for what is in scripts/split.py.

A truth has `MARGIN` pixels on each side that are not measured.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Scenes = dict[str, Array]
Image = TypeVar("Image", Array, Tensor)

FULL = 4095.0
"""DN of 1 in the frames, and of the benchmarks' sensors."""
MARGIN = 8


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
