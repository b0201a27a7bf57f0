"""The sensors that a training draws: kernels, noise, sampling, and what else happens to a measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.sensors.noise import SignalDependentNoise
from imaging.sensors.physics import SensorPhysics
from imaging.training import check_within

_RADIUS = 6
"""Of kernels, pixels of the measurement."""
_GRID = 64
_BAND_GAIN = 0.25
"""Deviation of the logarithm of the gain of each of several bands: sensors weigh them differently."""
_BITS = (8, 10, 11, 12, 14, 16)
SHAPES = ("gaussian", "rotated", "exponential", "defocus", "motion")


@dataclass(frozen=True, kw_only=True)
class SensorRanges:
    """The distribution of the sensors that a training draws, anew for each crop.

    Log-uniform are ``nyquist``, the MTF at the measurement's Nyquist frequency, and ``snr``, the signal-to-noise ratio at half of the full
    scale; ``shot`` is the share of that variance which is in proportion to the signal. ``shapes`` are shares of the kernels that `SHAPES`
    names, where a Gaussian lies along the axes unless it is rotated. ``defocus`` is the radius of the disc and ``motion`` the length of the
    path, pixels of the measurement; both come with a Gaussian.

    For half of the sensors the MTFs of the axes differ: ``anisotropy`` is the deviation of the logarithm of the ratio between an axis and
    their mean. For half of the crops another mean signal than theirs is told, for a crop is a part of a scene: ``level_spread`` is the
    deviation of the logarithm of the ratio of both. ``double`` is the share of batches whose scene has twice the measurement's grid,
    ``holes`` and ``saturated`` are those of crops with invalid pixels and with clipped highlights.
    """

    nyquist: tuple[float, float] = (0.05, 0.7)
    anisotropy: float = 0.25
    shapes: tuple[float, ...] = (0.45, 0.1, 0.2, 0.13, 0.12)
    defocus: tuple[float, float] = (0.3, 1.6)
    motion: tuple[float, float] = (0.8, 4.0)
    snr: tuple[float, float] = (10.0, 600.0)
    shot: tuple[float, float] = (0.0, 1.0)
    level_spread: float = 0.35
    double: float = 0.25
    holes: float = 0.12
    saturated: float = 0.05

    def __post_init__(self) -> None:
        check_within(
            self, nyquist=(1e-6, 1), anisotropy=(0, 10), defocus=(0, 100), motion=(0, 100), snr=(1e-3, 1e9), shot=(0, 1),
            level_spread=(0, 10), double=(0, 1), holes=(0, 1), saturated=(0, 1),
        )  # fmt: skip
        if len(self.shapes) != len(SHAPES) or min(self.shapes) < 0 or sum(self.shapes) <= 0:
            raise ValueError(f"shapes is {list(self.shapes)}; it must be {len(SHAPES)} shares")


class Measured(NamedTuple):
    """Crops as drawn sensors see them.

    ``truth`` is the scene where it is measured, ``(B, C, s h, s w)``; ``y`` and ``mask``, one where ``y`` is valid, are ``(B, C, h, w)``.
    The physics has a kernel and a noise model for each item; ``level`` is the mean signal ``(B,)`` that is told.
    """

    truth: Tensor
    y: Tensor
    mask: Tensor
    physics: SensorPhysics
    level: Tensor


def margin_of(factor: int) -> int:
    """Unmeasured pixels of a crop on each side."""
    return 8 * factor


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def draw_kernel(ranges: SensorRanges, rng: np.random.Generator, factor: int = 1) -> NDArray[np.float64]:
    """A kernel ``(k, k)`` on the scene's grid, of sum 1, from the transfer function of what a sensor does to an image.

    At ``factor`` 2 its centre lies on a pixel or, as that of profiles, half a pixel before one.
    """
    from scipy.special import j1

    f = factor * np.fft.fftfreq(_GRID)
    fy, fx = f[:, None], f[None]
    shape = SHAPES[int(rng.choice(len(SHAPES), p=np.array(ranges.shapes) / sum(ranges.shapes)))]
    low, high = ranges.nyquist
    if shape in {"defocus", "motion"}:
        low = max(low, 0.4 * high)
    middle, ratio = _log_uniform(rng, low, high), math.exp(rng.normal(0, ranges.anisotropy)) if rng.random() < 0.5 else 1.0
    across, along = (float(np.clip(v, *ranges.nyquist)) for v in (middle * ratio, middle / ratio))
    if shape == "exponential":
        transfer = across ** (np.abs(fx) / 0.5) * along ** (np.abs(fy) / 0.5)
    else:
        angle = rng.uniform(0, math.pi) if shape == "rotated" else 0.0
        u, v = fx * math.cos(angle) + fy * math.sin(angle), fy * math.cos(angle) - fx * math.sin(angle)
        transfer = across ** ((u / 0.5) ** 2) * along ** ((v / 0.5) ** 2)
    if shape == "defocus":
        argument = 2 * math.pi * rng.uniform(*ranges.defocus) * np.hypot(fy, fx)
        transfer = transfer * np.where(argument > 0, 2 * j1(argument) / np.maximum(argument, 1e-9), 1.0)
    if shape == "motion":
        angle, length = rng.uniform(0, math.pi), rng.uniform(*ranges.motion)
        transfer = transfer * np.sinc(length * (fx * math.cos(angle) + fy * math.sin(angle)))
    centre = (factor - 1) / 2 if factor > 1 and rng.random() < 0.5 else 0.0
    shift = np.exp(2j * math.pi * centre / factor * (fx + fy))
    kernel = np.fft.fftshift(np.fft.ifft2(transfer * shift).real)
    radius, middle_tap = _RADIUS * factor + factor // 2, _GRID // 2
    part = slice(middle_tap - radius, middle_tap + radius + 1)
    return np.asarray(kernel[part, part] / kernel[part, part].sum())


def draw_physics(ranges: SensorRanges, rng: np.random.Generator, count: int, bands: int, factor: int) -> SensorPhysics:
    """A sensor for each of ``count`` items, whose bands share a kernel up to its width and have noises of their own."""
    kernels, sigma0, gain = [], [], []
    for _ in range(count):
        kernels.append([draw_kernel(ranges, rng, factor)] * bands)
        snr, shot = _log_uniform(rng, *ranges.snr), rng.uniform(*ranges.shot)
        variances = [(0.5 / snr) ** 2 * (math.exp(rng.normal(0, 0.3)) if bands > 1 else 1.0) for _ in range(bands)]
        sigma0.append([math.sqrt((1 - shot) * v) for v in variances])
        gain.append([shot * v / 0.5 for v in variances])
    noise = SignalDependentNoise(torch.tensor(sigma0), torch.tensor(gain))
    return SensorPhysics(torch.from_numpy(np.array(kernels)).float(), noise, margin_of(factor), factor)


def _holes(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """Validity of one crop: dead pixels, dead rows or columns, rectangles without data, or the edge of what was seen."""
    valid = np.ones((height, width), bool)
    kind = rng.integers(4)
    if kind == 0:
        valid = rng.random((height, width)) > _log_uniform(rng, 0.001, 0.05)
    elif kind == 1:
        for _ in range(rng.integers(1, 4)):
            line, wide = (valid if rng.random() < 0.5 else valid.T), int(rng.integers(1, 3))
            line[:, (c := int(rng.integers(0, line.shape[1]))) : c + wide] = False
    elif kind == 2:
        for _ in range(rng.integers(1, 4)):
            h, w = (int(_log_uniform(rng, 3, 40)) for _ in range(2))
            r, c = int(rng.integers(0, height)), int(rng.integers(0, width))
            valid[r : r + h, c : c + w] = False
    else:
        angle, offset = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.4) * height
        rows, columns = np.mgrid[:height, :width] - np.array([height, width])[:, None, None] / 2
        valid = rows * math.sin(angle) + columns * math.cos(angle) < offset
    return valid


def measure(x: Tensor, ranges: SensorRanges, rng: np.random.Generator, factor: int) -> Measured:
    """Measure crops ``(B, C, H, W)`` with sensors drawn for each; `margin_of` pixels on each side stay unmeasured."""
    count, bands = x.shape[:2]
    if bands > 1:
        x = x * torch.from_numpy(np.exp(rng.normal(0, _BAND_GAIN, (count, bands, 1, 1)))).float()
    physics, margin = draw_physics(ranges, rng, count, bands, factor), margin_of(factor)
    signal = physics.A(x)
    noise = torch.from_numpy(rng.standard_normal(tuple(signal.shape))).float()
    y = signal + physics.noise_model.variance(signal).sqrt() * noise
    mask = torch.ones_like(y)
    for k in range(count):
        deviation = float(physics.noise_model.variance(y.mean((2, 3), keepdim=True))[k].sqrt().min())
        steps = 2 ** int(rng.choice([b for b in _BITS if 1.2 * deviation * (2**b - 1) >= 1] or _BITS[-1:])) - 1
        y[k] = (y[k] * steps).round() / steps
        if rng.random() < 0.5:
            y[k].clamp_(min=0)
        if rng.random() < ranges.saturated:
            top = torch.quantile(y[k].flatten(), float(rng.uniform(0.9, 0.995)))
            if rng.random() < 0.5:
                mask[k] = (y[k] < top).float()
            y[k].clamp_(max=float(top))
        if rng.random() < ranges.holes:
            mask[k] *= torch.from_numpy(_holes(rng, *y.shape[2:])).float()
    mean = (y * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
    told = [math.exp(rng.normal(0, ranges.level_spread)) if rng.random() < 0.5 else 1.0 for _ in range(count)]
    truth = x[..., margin : x.shape[2] - margin, margin : x.shape[3] - margin]
    return Measured(truth, y * mask, mask, physics, (mean * torch.tensor(told)).clamp(min=1e-3))
