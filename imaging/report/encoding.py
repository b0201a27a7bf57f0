"""Arrays inside a page: whole numbers of 16 bits, differences along rows, both bytes apart, deflated, as text."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 65535
"""Stored where a value is not finite."""


def pack(array: NDArray[np.float32]) -> dict[str, Any]:
    """Pack ``(bands, H, W)`` into text, ``data``, and ``low`` and ``step`` by band: values are ``low + step * stored``.

    Whole numbers in a range of 65 534 are kept as they are, others to 1/65 534 of the range of their band. The page's script unpacks them.
    """
    levels, lows, steps = [], [], []
    for band in np.asarray(array, float):
        known = np.isfinite(band)
        low, high = (float(band[known].min()), float(band[known].max())) if known.any() else (0.0, 0.0)
        whole = bool((band[known] == np.round(band[known])).all()) and high - low < UNKNOWN
        step = 1.0 if whole else max((high - low) / (UNKNOWN - 1), 1e-30)
        levels.append(np.where(known, np.round((np.where(known, band, low) - low) / step), UNKNOWN).astype(np.uint16))
        lows.append(low)
        steps.append(step)
    stored = np.stack(levels)
    stored[..., 1:] -= stored[..., :-1].copy()  # modulo 2**16
    planes = np.stack([stored & 255, stored >> 8]).astype(np.uint8)
    return {"data": base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii"), "low": lows, "step": steps}
