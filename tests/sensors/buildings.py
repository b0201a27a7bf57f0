"""A town of slanted rectangles, as a sensor of a known MTF sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from imaging.sensors.mtf import line_spread

FINER = 8
"""Pixels of the drawing to one of the sensor."""


def town(
    size: int, seed: int, *, number: int = 60, turned: tuple[float, float] = (4.0, 14.0), levels: tuple[float, float] = (300.0, 2500.0)
) -> NDArray[np.float32]:
    """Drawing ``(8 size, 8 size)`` of rectangles of 12 to 30 pixels, turned by angles in degrees either way, over a ground of 800 DN."""
    rng = np.random.default_rng(seed)
    n = size * FINER
    drawing = np.full((n, n), 800.0, dtype=np.float32)
    rows, columns = (a.astype(np.float32) for a in np.mgrid[:n, :n])
    for _ in range(number):
        y, x = rng.uniform(0, n, 2)
        height, width = rng.uniform(12, 30, 2) * FINER / 2
        angle = np.radians(rng.uniform(*turned)) * rng.choice([-1, 1])
        reach = int(np.hypot(height, width)) + 2
        box = np.s_[max(0, int(y) - reach) : int(y) + reach, max(0, int(x) - reach) : int(x) + reach]
        across = (columns[box] - x) * np.cos(angle) + (rows[box] - y) * np.sin(angle)
        along = (rows[box] - y) * np.cos(angle) - (columns[box] - x) * np.sin(angle)
        drawing[box][(abs(across) < width) & (abs(along) < height)] = rng.uniform(*levels)
    return drawing


def seen(drawing: NDArray[np.float32], across: float, along: float) -> NDArray[np.float64]:
    """What a sensor of a Gaussian MTF with these values at Nyquist sees of a drawing."""
    rows = convolve1d(drawing, line_spread("gaussian", across, FINER), axis=1, mode="nearest")[:, ::FINER]
    return np.asarray(convolve1d(rows, line_spread("gaussian", along, FINER), axis=0, mode="nearest")[::FINER], dtype=float)


def noisy(x: NDArray[np.float64], seed: int, sigma0: float = 6.0, gain: float = 0.09) -> NDArray[np.float64]:
    """With Gaussian noise of variance ``sigma0**2 + gain * x``."""
    return np.asarray(x + np.random.default_rng(seed).standard_normal(x.shape) * np.sqrt(sigma0**2 + gain * x.clip(0)))


def sample(*areas: NDArray[np.float64]) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Areas of one band ``(h, w)`` or of several ``(C, h, w)``, all valid."""
    stacked = [np.asarray(a if a.ndim == 3 else a[None], dtype=np.float32) for a in areas]
    return [(a, np.ones(a.shape, dtype=bool)) for a in stacked]
