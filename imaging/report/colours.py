"""The colour maps of the report and the quicklook."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CONTROL = (
    "440154", "481467", "482576", "453781", "404688", "39558c", "33638d", "2d718e", "287d8e", "238a8d", "1f968b",
    "20a386", "29af7f", "3dbc74", "56c667", "75d054", "95d840", "bade28", "dce319", "fde725",
)  # fmt: skip
NOTHING = (205, 214, 228)
"""Colour of pixels without data: no grey, so that it is not taken for brightness."""


def viridis() -> NDArray[np.uint8]:
    """Colours ``(256, 3)`` from dark violet over green to yellow, red, green and blue in [0, 255].

    They are linear between twenty colours of viridis (S. van der Walt and N. Smith, 2015, put in the public domain, CC0), equally spaced.
    """
    control = np.array([[int(c[k : k + 2], 16) for k in (0, 2, 4)] for c in _CONTROL], float)
    place = np.linspace(0, len(control) - 1, 256)
    return np.stack([np.interp(place, np.arange(len(control)), c) for c in control.T], axis=-1).round().astype(np.uint8)


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
