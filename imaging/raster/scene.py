"""Opening a scene: what it holds, and windows of pixels with their validity."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio  # noqa: F401  # before its parts, which threads that begin at once would import in two orders
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from imaging.errors import InputError
from imaging.raster.areas import Area
from imaging.raster.opening import gdal, open_raster
from imaging.raster.values import check_values

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
MOST_PIXELS, MOST_BANDS = 10**12, 1024
"""More is no scene but a damaged file."""
_MOST_BLOCKS = 10**6
"""Of a file, up to which it is asked for each whether it is stored."""


@dataclass(frozen=True)
class Statistics:
    """Sampled statistics of one band: mean, 99th percentile and maximum of the valid pixels, in stored values."""

    mean: float
    high: float
    largest: float


class Scene:
    """An open raster scene.

    Parameters
    ----------
    path : Path
        Any raster GDAL reads.
    bands : tuple of int, optional
        Bands to restore, numbered from 1; all bands that are not alpha by default.
    virtual : str, optional
        Virtual raster to open in place of the path, which then only names the scene; see `Assembly.virtual`.

    Raises
    ------
    InputError
        When there is nothing to restore in the file, with the reason.
    """

    factor = 1
    """Pixels of this grid to one stored pixel along each side; see `Magnified`."""

    def __init__(self, path: Path, bands: tuple[int, ...] | None = None, *, virtual: str | None = None) -> None:
        self.path = path
        self.source = open_raster(path, virtual)
        try:
            self._check()
            self.bands = self._choose(bands)
        except InputError:
            self.source.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def _check(self) -> None:
        source = self.source
        if source.count == 0 or min(source.width, source.height) == 0:
            raise InputError(f"{self.path} has no pixels ({source.width} x {source.height}, {source.count} bands)")
        if source.width * source.height > MOST_PIXELS or source.count > MOST_BANDS:
            raise InputError(
                f"{self.path} says that it has {source.width} x {source.height} pixels and {source.count} bands; accepted are up to "
                f"{MOST_PIXELS:.0e} pixels and {MOST_BANDS} bands"
            )
        if ColorInterp.palette in source.colorinterp or self._has_colormap():
            raise InputError(f"{self.path} has a colour table; its values are not brightness, convert it to grey or RGB first")
        for dtype in source.dtypes:
            if dtype.startswith("complex"):
                raise InputError(f"{self.path} holds complex numbers ({dtype}); give its intensity")
            if dtype not in DTYPES:
                raise InputError(f"{self.path} holds {dtype}; accepted are {', '.join(DTYPES)}")
        if len(set(source.dtypes)) > 1:
            raise InputError(f"{self.path} holds bands of several types ({', '.join(source.dtypes)}); convert them to one")

    def _has_colormap(self) -> bool:
        try:
            return bool(self.source.colormap(1))
        except ValueError:
            return False

    def _choose(self, bands: tuple[int, ...] | None) -> tuple[int, ...]:
        image = tuple(i for i in self.source.indexes if i not in self.alpha)
        if not image:
            raise InputError(f"{self.path} has only alpha bands")
        if bands is None:
            return image
        for band in bands:
            if band not in image:
                kind = "alpha" if band in self.alpha else "not there"
                raise InputError(f"band {band} of {self.path} is {kind}; its image bands are {', '.join(map(str, image))}")
        if len(set(bands)) != len(bands):
            raise InputError(f"bands {','.join(map(str, bands))} name one band twice")
        return bands

    @property
    def ground(self) -> Any:
        """The dataset whose georeference the grid has, `factor` times as fine; another one than the pixels' for a `Sharpened` scene."""
        return self.source

    @property
    def alpha(self) -> tuple[int, ...]:
        """Alpha bands, numbered from 1."""
        return tuple(i for i, c in zip(self.source.indexes, self.source.colorinterp, strict=True) if c == ColorInterp.alpha)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.source.width)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.source.height)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the bands to restore."""
        return np.dtype(self.source.dtypes[self.bands[0] - 1])

    @property
    def nodata(self) -> float | None:
        """The nodata value of the bands to restore; None also where their type cannot hold what the file names."""
        value = self.source.nodatavals[self.bands[0] - 1]
        if value is None or self.dtype.kind == "f":
            return value if value is None or not np.isfinite(value) or abs(value) <= np.finfo(self.dtype).max else None
        info = np.iinfo(self.dtype)
        whole = float(np.trunc(value))  # as GDAL compares it
        return whole if info.min <= whole <= info.max else None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files the scene consists of."""
        return tuple(Path(f) for f in self.source.files)

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Descriptions of the bands to restore."""
        return tuple(self.source.descriptions[b - 1] for b in self.bands)

    @property
    def has_stored_mask(self) -> bool:
        """Whether the file carries a mask of its own, neither alpha nor nodata."""
        flags = self.source.mask_flag_enums[self.bands[0] - 1]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    def read_raw(self, area: Area, bands: tuple[int, ...]) -> NDArray[Any]:
        """Stored values ``(bands, height, width)`` of an area inside the scene."""
        try:
            with gdal():
                return np.asarray(self.source.read(bands, window=Window(area.column, area.row, area.width, area.height)))
        except RasterioError as error:
            raise InputError(
                f"{self.path} cannot be read at row {area.row}, column {area.column}: the file is damaged or cut short"
            ) from error

    def read_mask(self, area: Area, bands: tuple[int, ...]) -> NDArray[Any]:
        """GDAL mask ``(bands, height, width)``, 0 where invalid, of an area inside the scene."""
        try:
            with gdal():
                return np.asarray(self.source.read_masks(bands, window=Window(area.column, area.row, area.width, area.height)))
        except RasterioError as error:
            raise InputError(f"the mask of {self.path} cannot be read: the file is damaged or cut short") from error

    def read(self, area: Area) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values and validity ``(bands, height, width)`` of an area that may reach beyond the scene.

        Outside the scene, and where nodata, mask, alpha or NaN say so, pixels are invalid and their value is 0.
        """
        top, left = max(area.row, 0), max(area.column, 0)
        bottom, right = min(area.row + area.height, self.height), min(area.column + area.width, self.width)
        shape = (len(self.bands), area.height, area.width)
        values, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
        if bottom <= top or right <= left:
            return values, valid
        inside = Area(top, left, bottom - top, right - left)
        pixels = self.read_raw(inside, self.bands)
        good = self.read_mask(inside, self.bands) != 0
        for alpha in self.alpha:
            good &= self.read_raw(inside, (alpha,)) != 0
        good &= np.isfinite(pixels)
        part = (slice(None), slice(top - area.row, bottom - area.row), slice(left - area.column, right - area.column))
        values[part] = np.where(good, pixels, 0)
        if self.dtype.kind == "f":
            check_values(values, str(self.path))
        valid[part] = good
        return values, valid

    def blocks(self, side: int) -> list[Area]:
        """The scene cut into areas of at most ``side`` pixels, row by row."""
        return [self._block(side, k) for k in range(self._block_count(side))]

    def _block_count(self, side: int) -> int:
        return -(-self.height // side) * -(-self.width // side)

    def _block(self, side: int, index: int) -> Area:
        row, column = (side * n for n in divmod(index, -(-self.width // side)))
        return Area(row, column, min(side, self.height - row), min(side, self.width - column))

    def _promising(self, side: int) -> list[int]:
        """Indices of areas of `blocks` that may have valid pixels: in a GeoTIFF with a nodata value, those that a stored block reaches."""
        source, found = self.source, np.zeros((-(-self.height // side), -(-self.width // side)), bool)
        height, width = (self.factor * n for n in source.block_shapes[0])
        shape = -(-self.height // height), -(-self.width // width)
        sparse = source.driver == "GTiff" and all(source.mask_flag_enums[b - 1] == [MaskFlags.nodata] for b in self.bands)
        if not sparse or shape[0] * shape[1] * len(self.bands) > _MOST_BLOCKS:
            return list(range(found.size))
        for r, c in np.ndindex(*shape):
            if any(source.get_tag_item(f"BLOCK_OFFSET_{c}_{r}", "TIFF", bidx=b) for b in self.bands):
                last = ((r + 1) * height - 1) // side, ((c + 1) * width - 1) // side
                found[r * height // side : last[0] + 1, c * width // side : last[1] + 1] = True
        return [int(k) for k in np.flatnonzero(found)]

    def sample(self, side: int = 256, most: int = 16) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Values and validity of up to ``most`` areas with valid pixels, spread over the scene.

        Raises
        ------
        InputError
            When no pixel of the scene is valid.
        """
        count = self._block_count(side)
        step = max(1, count // most)
        spread = range(step // 2, count, step)[:most]
        found = [(v, m) for v, m in (self.read(self._block(side, k)) for k in spread) if m.any()]
        if not found:
            others = (self.read(self._block(side, k)) for k in self._promising(side) if k not in spread)
            found = list(itertools.islice(((v, m) for v, m in others if m.any()), 1))
        if not found:
            raise InputError(f"{self.path} has no valid pixel: all are nodata or masked")
        return found


def statistics(sample: list[tuple[NDArray[np.float32], NDArray[np.bool_]]], band: int) -> Statistics | None:
    """Statistics of one band (index from 0) over sampled areas; None when the band has no valid pixel in them."""
    values = np.concatenate([v[band][m[band]] for v, m in sample])
    if not values.size:
        return None
    return Statistics(float(values.mean(dtype=float)), float(np.quantile(values, 0.99)), float(values.max()))
