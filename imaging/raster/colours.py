"""A colour map in which equal steps of a value look like equal steps, also in grey and to colour-blind eyes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CONTROL = (
    "440154", "481467", "482576", "453781", "404688", "39558c", "33638d", "2d718e", "287d8e", "238a8d", "1f968b",
    "20a386", "29af7f", "3dbc74", "56c667", "75d054", "95d840", "bade28", "dce319", "fde725",
)  # fmt: skip


def viridis() -> NDArray[np.uint8]:
    """Colours ``(256, 3)`` from dark violet over green to yellow, red, green and blue in [0, 255].

    Twenty of the colours of viridis (S. van der Walt and N. Smith, 2015, put in the public domain, CC0), equally spaced; between them the
    table is linear.
    """
    control = np.array([[int(c[k : k + 2], 16) for k in (0, 2, 4)] for c in _CONTROL], float)
    place = np.linspace(0, len(control) - 1, 256)
    return np.stack([np.interp(place, np.arange(len(control)), c) for c in control.T], axis=-1).round().astype(np.uint8)
