"""Pairs of coarse and fine images to learn from, and the scores of reconstructions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from imaging.training import check_within

FULL = 4095
"""Whole numbers that images are kept as reach so far."""
LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""Weights of red, green and blue in the Y channel (ITU-R BT.601), whose offset is 16/255."""


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How coarse images are made of fine ones.

    Attributes
    ----------
    kind : str
        ``"bicubic"``: bicubic with antialiasing, as in published tests. ``"sensor"``: Gaussian blur to a modulation transfer function drawn
        for each image, then means over the pixels, as a detector takes them.
    mtf : tuple of float
        Range of the blur's part of the transfer function at the coarse grid's Nyquist frequency, without the detector's own.
    noise : tuple of float
        Range of the standard deviation of noise, in units of 1/255.
    levels : int
        Coarse images are rounded to multiples of its inverse; 0 leaves them.
    """

    kind: str = "bicubic"
    mtf: tuple[float, float] = (0.3, 0.7)
    noise: tuple[float, float] = (0.0, 0.0)
    levels: int = 255

    def __post_init__(self) -> None:
        if self.kind not in {"bicubic", "sensor"}:
            raise ValueError(f"the degradation is {self.kind!r}; accepted are bicubic and sensor")
        check_within(self, mtf=(1e-6, 1), noise=(0, 255), levels=(0, 2**16))

    def apply(self, fine: Tensor, scale: int, generator: torch.Generator | None = None) -> Tensor:
        """Coarse images of fine ones ``(B, C, H, W)``, both sides multiples of the scale; drawn values come from the generator."""
        if self.kind == "bicubic":
            coarse = F.interpolate(fine, scale_factor=1 / scale, mode="bicubic", antialias=True)
        else:
            coarse = F.avg_pool2d(self._blurred(fine, scale, generator), scale)
        if self.noise[1] > 0:
            strength = self._drawn(len(fine), self.noise, generator, fine).view(-1, 1, 1, 1) / 255
            coarse = coarse + strength * torch.randn(coarse.shape, generator=generator, device=fine.device)
        return (coarse.clamp(0, 1) * self.levels).round() / self.levels if self.levels else coarse

    @staticmethod
    def _drawn(count: int, limits: tuple[float, float], generator: torch.Generator | None, like: Tensor) -> Tensor:
        return limits[0] + (limits[1] - limits[0]) * torch.rand(count, generator=generator, device=like.device)

    def _blurred(self, fine: Tensor, scale: int, generator: torch.Generator | None) -> Tensor:
        """Gaussian blur; exp(-2 (pi sigma f)^2) is the drawn value at f = 1/(2 scale)."""
        value = self._drawn(len(fine), self.mtf, generator, fine)
        sigma = (-2 * value.clamp_max(0.999).log()).sqrt() * scale / math.pi
        radius = 2 * scale
        at = torch.arange(-radius, radius + 1, device=fine.device)
        rows = torch.exp(-(at**2) / (2 * sigma[:, None] ** 2))
        rows = (rows / rows.sum(1, keepdim=True)).repeat_interleave(fine.shape[1], 0)
        stacked = F.pad(fine, (radius,) * 4, mode="replicate").flatten(0, 1)[None]
        stacked = F.conv2d(stacked, rows[:, None, :, None], groups=len(rows))
        return F.conv2d(stacked, rows[:, None, None, :], groups=len(rows)).view_as(fine)


def tiles_of(images: Sequence[NDArray[Any]], side: int, bands: int) -> Tensor:
    """Tiles ``(N, C, side, side)`` int16, up to `FULL`, that cover images; neighbours overlap where the side does not fit.

    ``C`` is the bands, or four for one band, which is then a mixture drawn of four; images with three get their mean as fourth.
    """
    found = []
    for image in images:
        factor = 1.0 if image.dtype == np.uint16 else FULL / 255
        pixels = np.rint(image.astype(np.float32) * factor)
        wanted = 4 if bands == 1 else bands
        if len(pixels) < wanted:
            pixels = np.concatenate([pixels, pixels.mean(0, keepdims=True).repeat(wanted - len(pixels), 0)])
        for row in _starts(image.shape[1], side):
            for column in _starts(image.shape[2], side):
                found.append(torch.from_numpy(pixels[:wanted, row : row + side, column : column + side].astype(np.int16)))
    return torch.stack(found)


def _starts(length: int, side: int) -> list[int]:
    if length < side:
        raise ValueError(f"an image is {length} pixels along one side; training needs {side}")
    count = -(-length // side)
    return [round(k * (length - side) / max(count - 1, 1)) for k in range(count)]


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """Random crops.

    Attributes
    ----------
    batch, crop : int
        Images of a batch, and side of their coarse versions.
    gain, exponent : tuple of float
        Ranges of a radiometric gain and of the exponent of a tone curve, drawn log-uniformly for each image.
    """

    batch: int = 32
    crop: int = 48
    gain: tuple[float, float] = (1.0, 1.0)
    exponent: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        check_within(self, batch=(1, 10**5), crop=(1, 2**15), gain=(1e-6, 1e6), exponent=(1e-3, 1e3))


class Pairs:
    """Random pairs of coarse and fine crops.

    Parameters
    ----------
    tiles : Tensor
        ``(N, C, side, side)`` from `tiles_of`; on the device that works.
    bands, scale : int
        Of the images.
    degradation : Degradation
        From fine to coarse.
    crops : CropSettings
        Size and radiometry.
    seed : int
        Of all draws.
    """

    def __init__(self, tiles: Tensor, bands: int, scale: int, degradation: Degradation, crops: CropSettings, seed: int) -> None:
        if crops.crop * scale > tiles.shape[-1]:
            raise ValueError(f"a crop of {crops.crop} at scale {scale} does not fit into tiles of {tiles.shape[-1]}")
        self.tiles, self.bands, self.scale, self.degradation, self.crops = tiles, bands, scale, degradation, crops
        self.generator = torch.Generator(tiles.device).manual_seed(seed)

    def _whole(self, below: int) -> Tensor:
        return torch.randint(below, (self.crops.batch,), generator=self.generator, device=self.tiles.device)

    def _factors(self, limits: tuple[float, float]) -> Tensor:
        low, high = (math.log(v) for v in limits)
        drawn = torch.rand(self.crops.batch, 1, 1, 1, generator=self.generator, device=self.tiles.device)
        return torch.exp(low + (high - low) * drawn)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Coarse ``(B, bands, crop, crop)`` and fine ``(B, bands, scale crop, scale crop)`` images in [0, 1]."""
        side, device = self.crops.crop * self.scale, self.tiles.device
        room = self.tiles.shape[-1] - side + 1
        at = torch.arange(side, device=device)
        rows, columns = self._whole(room)[:, None] + at, self._whole(room)[:, None] + at
        turns = self._whole(8)
        rows = torch.where((turns & 1)[:, None] > 0, rows.flip(1), rows)
        columns = torch.where((turns & 2)[:, None] > 0, columns.flip(1), columns)
        index = self._whole(len(self.tiles))
        fine = self.tiles[index[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float() / FULL
        fine = torch.where((turns & 4).view(-1, 1, 1, 1) > 0, fine.transpose(2, 3), fine)
        if self.bands == 1:
            weights = torch.rand(self.crops.batch, fine.shape[1], 1, 1, generator=self.generator, device=device) + 0.3
            fine = (fine * weights / weights.sum(1, keepdim=True)).sum(1, keepdim=True)
        if self.crops.exponent != (1.0, 1.0):
            fine = fine.clamp_min(0) ** self._factors(self.crops.exponent)
        if self.crops.gain != (1.0, 1.0):
            fine = (fine * self._factors(self.crops.gain)).clamp_max(1)
        return self.degradation.apply(fine, self.scale, self.generator), fine.contiguous()


def luma(x: Tensor) -> Tensor:
    """Y channel ``(B, H, W)`` in [0, 1] of ``(B, bands, H, W)``: that of red, green and blue, otherwise the mean of the bands."""
    if x.shape[1] == 3:
        return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1) + 16 / 255
    return x.mean(1)


def psnr(found: Tensor, truth: Tensor, border: int) -> Tensor:
    """Peak signal-to-noise ratio (dB) of each image's Y channel, ``(B,)``, both rounded to 8 bits as in published tests.

    Images are ``(B, bands, H, W)`` in [0, 1]. ``border`` pixels are left out on each side, usually as many as the scale.
    """
    a, b = (luma((x.clamp(0, 1) * 255).round() / 255)[..., border:-border, border:-border] for x in (found, truth))
    return -10 * (a - b).square().mean((1, 2)).clamp_min(1e-10).log10()
