"""Blocks of a scene: their brightness, their spectra, and what the flattest of them tell of its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.special import gammaincinv

Array = NDArray[np.float64]
Sample = Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]
"""Areas of a scene: values ``(C, h, w)`` and which of them are valid, ``(C, h, w)``."""

_SIZE = 8
_INDEX = np.arange(_SIZE)
_RADIUS2 = np.add.outer(_INDEX**2, _INDEX**2)  # 16 steps to one cycle per pixel: 64 is the Nyquist frequency of an axis
_PARITY = np.add.outer(_INDEX, _INDEX) % 2
_LEAST = np.minimum.outer(_INDEX, _INDEX)
# Slopes and curvature of a block leak along the axes, so that coefficients near those are left out.
FINE = (_RADIUS2 >= 50) & (_LEAST >= 4)
_COARSE = (_RADIUS2 >= 4) & (_RADIUS2 <= 34)
_RINGS = [(16, 25), (25, 36), (36, 50), (50, 64), (64, 99)]


def _chi2_quantile(probability: float, freedom: int) -> float:
    """As `scipy.stats.chi2.ppf`, whose import takes a quarter of a second."""
    return 2 * float(gammaincinv(freedom / 2, probability))


def _ring(k: int) -> NDArray[np.bool_]:
    low, high = _RINGS[k]
    return np.asarray((low <= _RADIUS2) & (high > _RADIUS2) & (_LEAST >= (1 if k < 2 else 2)))


# Of all coefficients: those below the first ring, which show scene, count as if they were in it.
_SHARES = np.array([np.mean((_RADIUS2 >= (low if k else 0)) & (high > _RADIUS2)) for k, (low, high) in enumerate(_RINGS)])


@dataclass(frozen=True)
class Blocks:
    """Blocks of 8 x 8 pixels: mean level, power of DCT coefficients ``(n, 8, 8)``, number of the 32 x 32 block around each."""

    level: Array
    power: Array
    group: NDArray[np.int64]

    @cached_property
    def coarse(self) -> Array:
        """Mean power at scales that show whether a block is flat."""
        return np.asarray(self.power[:, _COARSE].mean(1))

    @cached_property
    def fine(self) -> Array:
        """Mean power at the scales that the sensor's blur leaves to the noise."""
        return np.asarray(self.power[:, FINE].mean(1))

    def __len__(self) -> int:
        return len(self.level)


def unclipped(sample: Sample, band: int) -> list[tuple[Array, NDArray[np.bool_]]]:
    """Values ``(h, w)`` of one band of each area, and where they are measured: valid, finite, neither its least nor its greatest value."""
    areas = [(np.asarray(v[band], dtype=float), np.asarray(m[band], dtype=bool) & np.isfinite(v[band])) for v, m in sample]
    found = [v[m] for v, m in areas if m.any()]
    if not found:
        return [(np.zeros_like(v), m) for v, m in areas]
    low, high = min(f.min() for f in found), max(f.max() for f in found)
    masks = [m & (v > low) & (v < high) for v, m in areas]
    return [(np.where(m, v, 0.0), m) for (v, _), m in zip(areas, masks, strict=True)]


def make_blocks(areas: list[tuple[Array, NDArray[np.bool_]]]) -> Blocks:
    """All blocks of 8 x 8 pixels of areas ``(h, w)`` whose pixels are all good and not all the same."""
    levels, powers, groups, first = [np.zeros(0)], [np.zeros((0, _SIZE, _SIZE))], [np.zeros(0, dtype=np.int64)], 0
    for values, good in areas:
        rows, columns = (n // _SIZE for n in values.shape)

        def cut(a: NDArray[np.generic], rows: int = rows, columns: int = columns) -> NDArray[np.generic]:
            parts = a[: rows * _SIZE, : columns * _SIZE].reshape(rows, _SIZE, columns, _SIZE)
            return parts.swapaxes(1, 2).reshape(-1, _SIZE, _SIZE)

        blocks = np.asarray(cut(values), dtype=float)
        usable = np.asarray(cut(good)).all((1, 2)) & (np.ptp(blocks, axis=(1, 2)) > 0)
        group = first + np.add.outer(np.arange(rows) // 4 * (columns // 4 + 1), np.arange(columns) // 4).ravel()
        first = int(group.max(initial=first)) + 1
        levels.append(blocks[usable].mean((1, 2)))
        powers.append(dctn(blocks[usable], axes=(1, 2), norm="ortho") ** 2)
        groups.append(group[usable])
    return Blocks(np.concatenate(levels), np.concatenate(powers), np.concatenate(groups))


@dataclass(frozen=True)
class NoiseColour:
    """What the flattest blocks tell of the colour of the noise.

    ``ratio`` is the power at the finest scales over that at somewhat coarser ones, ``growth`` the power of all coefficients over that of
    the fine ones, ``correlation`` the low-frequency power density over power. It is ``settled`` where three times as many blocks show much
    the same power: it is then the noise's, else texture has a part in it.
    """

    ratio: float
    growth: float
    correlation: float
    settled: bool


def noise_colour(blocks: Blocks, variance: Array) -> NoiseColour:
    """Spectrum of the flattest blocks, relative to a variance for each ``(n,)``.

    Coefficients that choose the flat blocks are not measured: no selection bias. The median over blocks leaves out those with texture.
    """
    power = blocks.power / variance[:, None, None]
    fine = np.array([(_ring(k) & FINE).sum() for k in range(len(_RINGS))]) / FINE.sum()

    def typical(mask: NDArray[np.bool_], order: NDArray[np.int64], count: int) -> float:
        n = int(mask.sum())
        return max(1e-12, float(np.median(power[order[:count]][:, mask].mean(1)) / (_chi2_quantile(0.5, n) / n)))

    def order(choosing: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.argsort(power[:, choosing].mean(1))

    count = max(40, len(blocks) // 100)
    coarser = order((_RADIUS2 >= 4) & (_RADIUS2 < 36))
    ratio = typical(_ring(4), coarser, count) / typical(_ring(2), coarser, count)
    orders = [order((_RADIUS2 >= 4) & (_RADIUS2 < 50) & (p == _PARITY)) for p in (0, 1)]
    few, many = (
        np.array([np.mean([typical(_ring(k) & (p != _PARITY), orders[p], n) for p in (0, 1)]) for k in range(len(_RINGS))])
        for n in (count, 3 * count)
    )
    power_of_few, power_of_many = float(_SHARES @ few), float(_SHARES @ many)
    return NoiseColour(ratio, power_of_few / float(fine @ few), max(1.0, float(few[0]) / power_of_few), power_of_many < 1.3 * power_of_few)


def quiet_blocks(blocks: Blocks, level: float, spread: float) -> float:
    """Noise standard deviation near a level: 1 % quantile of block power, whose spectrum below 0.25 cycles per pixel is taken as level."""
    near = blocks.power[np.abs(blocks.level - level) <= spread]
    if len(near) < 50:
        return float("nan")
    variance = np.stack([near[:, _ring(k)].mean(1) for k in range(len(_RINGS))], 1) @ _SHARES
    # About 10 coefficients bear the power where the noise is coloured.
    return float(np.sqrt(np.quantile(variance, 0.01) / (_chi2_quantile(0.01, 10) / 10)))


def patch_covariance(areas: list[tuple[Array, NDArray[np.bool_]]], level: float, spread: float) -> float:
    """Noise standard deviation near a level from the smallest eigenvalue of the covariance of 5 x 5 patches (nan if there are too few)."""
    size, patches = 5, []
    for values, good in areas:
        if min(values.shape) < size:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(values, (size, size))[::2, ::2].reshape(-1, size * size)
        usable = np.lib.stride_tricks.sliding_window_view(good, (size, size))[::2, ::2].reshape(-1, size * size).all(1)
        mean = windows.mean(1)
        patches.append(windows[usable & (np.abs(mean - level) <= spread)])
    chosen = np.concatenate(patches) if patches else np.zeros((0, size * size))
    if len(chosen) < 20 * size * size:
        return float("nan")
    # The mean of a patch is left out: among patches of about one brightness it says nothing of the noise.
    chosen = chosen - chosen.mean(1, keepdims=True)
    smallest = np.linalg.eigvalsh(chosen.T @ chosen / len(chosen))[1]
    return float(np.sqrt(max(smallest, 0.0)) / (1 - np.sqrt(size * size / len(chosen))))
