"""A multispectral scene seen on a panchromatic grid: what the outputs of a bundle share with their inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.raster.areas import Area
from imaging.raster.grids import GridRelation
from imaging.raster.scene import Scene


class Sharpened(Scene):
    """An open multispectral scene on the grid of a panchromatic one; areas and sizes are in pixels of that grid.

    Bands, values, validity and tags are the multispectral scene's, of the pixel that holds the centre of each panchromatic one; size and
    georeference are the panchromatic scene's. Where the multispectral scene does not reach, values are its nodata value or 0, alpha is 0
    and pixels are invalid. What the panchromatic scene lacks shows nowhere. `close`, and the end of a ``with``, close both.

    Parameters
    ----------
    ms, pan : Scene
        Open.
    relation : GridRelation
        How their grids lie on each other, as `relate_grids` finds it.
    """

    def __init__(self, ms: Scene, pan: Scene, relation: GridRelation) -> None:
        self.path, self.source, self.bands = ms.path, ms.source, ms.bands
        self.ms, self.pan, self.relation = ms, pan, relation

    def close(self) -> None:
        """Close both scenes."""
        self.ms.close()
        self.pan.close()

    @property
    def ground(self) -> Any:
        """The panchromatic scene's dataset."""
        return self.pan.source

    @property
    def width(self) -> int:
        """Columns."""
        return self.pan.width

    @property
    def height(self) -> int:
        """Rows."""
        return self.pan.height

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of both scenes."""
        return tuple(dict.fromkeys(self.ms.files + self.pan.files))

    @property
    def has_stored_mask(self) -> bool:
        """Whether validity needs a mask, neither alpha nor nodata: the multispectral file has one, or its pixels do not cover the grid."""
        told = self.ms.nodata is not None or self.ms.alpha
        return self.ms.has_stored_mask or not (told or self._covered)

    @property
    def _covered(self) -> bool:
        rows, columns = self._nearest(Area(0, 0, self.height, self.width))
        return bool(rows[0] >= 0 and columns[0] >= 0 and rows[-1] < self.ms.height and columns[-1] < self.ms.width)

    def _nearest(self, area: Area) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Multispectral rows and columns that hold the centres of an area's, also beyond the scene."""
        r = self.relation
        rows = (area.row + np.arange(area.height) + 0.5 - r.row) / r.ratio
        columns = (area.column + np.arange(area.width) + 0.5 - r.column) / r.ratio
        return np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)

    def _spread(self, read: Any, area: Area, bands: tuple[int, ...], beyond: NDArray[Any]) -> NDArray[Any]:
        """What ``read`` gives of the multispectral pixels under an area; ``beyond`` them a value for each band."""
        rows, columns = self._nearest(area)
        down, across = ((n >= 0) & (n < most) for n, most in ((rows, self.ms.height), (columns, self.ms.width)))
        found = np.broadcast_to(beyond[:, None, None], (len(bands), area.height, area.width)).copy()
        if down.any() and across.any():
            rows, columns = rows[down], columns[across]
            top, left = int(rows[0]), int(columns[0])
            stored = read(Area(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1), bands)
            found[:, np.flatnonzero(down)[:, None], np.flatnonzero(across)] = stored[:, (rows - top)[:, None], columns - left]
        return found

    def read_raw(self, area: Area, bands: tuple[int, ...]) -> NDArray[Any]:
        """Stored multispectral values ``(bands, height, width)`` of an area inside the grid."""
        nodata = self.nodata or 0
        return self._spread(self.ms.read_raw, area, bands, np.array([0 if b in self.alpha else nodata for b in bands], self.dtype))

    def read_mask(self, area: Area, bands: tuple[int, ...]) -> NDArray[Any]:
        """GDAL mask ``(bands, height, width)`` of the multispectral scene, 0 where invalid, of an area inside the grid."""
        return self._spread(self.ms.read_mask, area, bands, np.zeros(len(bands), np.uint8))

    def sample(self, side: int = 256, most: int = 16) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Areas of the multispectral scene as measured, on its own grid: repeated pixels have neither its noise nor its MTF."""
        return self.ms.sample(side, most)
