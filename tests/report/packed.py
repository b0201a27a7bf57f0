"""What a page packs, read as its script reads it."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.report.encoding import UNKNOWN


def unpack(packed: dict[str, Any], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """What the page's script gets: ``(bands, H, W)``, NaN where unknown."""
    low, high = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(2, *shape).astype(np.uint16)
    stored = np.cumsum(low | (high << 8), axis=-1, dtype=np.uint16)
    scale = [np.asarray(packed[name], float)[:, None, None] for name in ("low", "step")]
    return np.asarray(np.where(stored == UNKNOWN, np.nan, scale[0] + scale[1] * stored))
