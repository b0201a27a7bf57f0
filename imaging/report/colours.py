"""The colour maps of the report and the quicklook."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.raster.colours import viridis

__all__ = ["coloured", "diverging", "viridis"]

NOTHING = (205, 214, 228)
"""Colour of pixels without data: no grey, so that it is not taken for brightness."""


def diverging() -> NDArray[np.uint8]:
    """Colours ``(256, 3)`` from blue over a light grey, the middle, to red."""
    ends, middle = np.array([[30.0, 80, 160], [170, 40, 40]]), np.array([244.0, 244, 244])
    place = np.linspace(-1, 1, 256)[:, None]
    return np.asarray((middle + np.abs(place) * (np.where(place < 0, ends[0], ends[1]) - middle)).round(), np.uint8)


def coloured(values: NDArray[Any], low: float, high: float, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours ``(H, W, 3)`` of values ``(H, W)``; those beyond the limits get the last colours, NaN gets `NOTHING`."""
    known = np.isfinite(values)
    share = (np.where(known, values, low) - low) / (high - low)
    found = table[(255 * share.clip(0, 1)).round().astype(int)]
    return np.where(known[..., None], found, np.array(NOTHING, np.uint8))
