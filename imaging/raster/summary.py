"""What a band's valid pixels are like: exact statistics in one pass, percentiles, both in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from imaging.raster.opening import opening

_BLOCK = 1024
_MOST = 2**22
"""Pixels that percentiles are taken from, at most; of larger rasters every n-th row and column."""


@dataclass(frozen=True)
class Summary:
    """One band's valid pixels, in stored values.

    All but the percentiles are exact; ``deviation`` is that of the population, ``share`` that of valid pixels among all, in (0, 1]. ``low``
    and ``high`` are the 2nd and 98th percentiles, exact up to four million pixels, of a regular sample of them beyond.
    """

    smallest: float
    largest: float
    mean: float
    deviation: float
    share: float
    low: float
    high: float

    def tags(self) -> dict[str, str]:
        """The tags in which GDAL keeps the statistics of a band."""
        percent = "100" if self.share == 1 else f"{min(100 * self.share, 99.99):.4g}"
        values = {"MINIMUM": self.smallest, "MAXIMUM": self.largest, "MEAN": self.mean, "STDDEV": self.deviation}
        return {f"STATISTICS_{k}": f"{v:.14g}" for k, v in values.items()} | {"STATISTICS_VALID_PERCENT": percent}


def summarise(path: Path, band: int) -> Summary | None:
    """Summary of a band, numbered from 1, of a raster file; None where no pixel is valid.

    Invalid is what nodata, a mask or alpha say, and what is not finite. The result does not depend on the file's blocks.
    """
    total = _Total()
    with opening(), rasterio.open(path) as source:
        alpha = [i for i, c in zip(source.indexes, source.colorinterp, strict=True) if c == ColorInterp.alpha]
        step = int(np.ceil(np.sqrt(max(1, source.height * source.width / _MOST))))
        for row in range(0, source.height, _BLOCK):
            for column in range(0, source.width, _BLOCK):
                window = Window(column, row, min(_BLOCK, source.width - column), min(_BLOCK, source.height - row))
                values = source.read(band, window=window)
                valid = (source.read_masks(band, window=window) != 0) & np.isfinite(values)
                for other in alpha:
                    valid &= source.read(other, window=window) != 0
                total.add(values, valid, (slice(-row % step, None, step), slice(-column % step, None, step)))
    return total.summary()


class _Total:
    """Sums of the blocks so far; deviations are added up about each block's own mean."""

    def __init__(self) -> None:
        self.pixels, self.count, self.mean, self.squares = 0, 0, 0.0, 0.0
        self.smallest, self.largest = np.inf, -np.inf
        self.sample: list[NDArray[Any]] = []
        self.rest: NDArray[Any] | None = None

    def add(self, values: NDArray[Any], valid: NDArray[np.bool_], sampled: tuple[slice, slice]) -> None:
        self.pixels += valid.size
        good = values[valid].astype(np.float64)
        if not good.size:
            return
        mean = float(good.mean())
        count, apart = self.count + good.size, mean - self.mean
        self.squares += float(((good - mean) ** 2).sum()) + apart**2 * self.count * good.size / count
        self.mean += apart * good.size / count
        self.count = count
        self.smallest, self.largest = min(self.smallest, float(good.min())), max(self.largest, float(good.max()))
        if self.rest is None:
            self.rest = good[:1]  # where no sampled pixel is valid
        self.sample.append(values[sampled][valid[sampled]])

    def summary(self) -> Summary | None:
        if self.rest is None:
            return None
        sample = np.concatenate(self.sample)
        low, high = np.percentile(sample if sample.size else self.rest, (2, 98))
        deviation = float(np.sqrt(self.squares / self.count))
        return Summary(self.smallest, self.largest, self.mean, deviation, self.count / self.pixels, float(low), float(high))


def record_statistics(path: Path, bands: int) -> None:
    """Put the statistics of a GeoTIFF's first bands into it, where GDAL and QGIS look for them; pixels stay as they are."""
    found = {band: summarise(path, band) for band in range(1, bands + 1)}
    with rasterio.open(path, "r+") as target:
        for band, summary in found.items():
            if summary is not None:
                target.update_tags(band, **summary.tags())
