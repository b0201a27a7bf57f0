"""A scene seen on a finer grid: what outputs of super-resolution share with their input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.raster.areas import Area
from imaging.raster.scene import Scene


class Magnified(Scene):
    """An open scene on a grid so many times as fine, its pixels repeated; areas and sizes are in pixels of that grid.

    Parameters
    ----------
    scene : Scene
        Open; stays so.
    factor : int
        Pixels to one stored pixel along each side.
    """

    def __init__(self, scene: Scene, factor: int) -> None:
        self.path, self.source, self.bands, self.factor = scene.path, scene.source, scene.bands, factor

    @property
    def width(self) -> int:
        """Columns."""
        return self.factor * super().width

    @property
    def height(self) -> int:
        """Rows."""
        return self.factor * super().height

    def _stored(self, area: Area) -> tuple[Area, tuple[slice, slice]]:
        """The stored pixels that an area touches, and its part of them when they are repeated."""
        f = self.factor
        top, left, bottom, right = area.row // f, area.column // f, -(-(area.row + area.height) // f), -(-(area.column + area.width) // f)
        row, column = area.row - f * top, area.column - f * left
        return Area(top, left, bottom - top, right - left), (slice(row, row + area.height), slice(column, column + area.width))

    def _repeated(self, values: NDArray[Any], part: tuple[slice, slice]) -> NDArray[Any]:
        return values.repeat(self.factor, 1).repeat(self.factor, 2)[:, part[0], part[1]]

    def read_raw(self, area: Area, bands: tuple[int, ...]) -> NDArray[Any]:
        """Stored values ``(bands, height, width)`` of an area inside the scene, repeated."""
        stored, part = self._stored(area)
        return self._repeated(super().read_raw(stored, bands), part)

    def read_mask(self, area: Area, bands: tuple[int, ...]) -> NDArray[Any]:
        """GDAL mask ``(bands, height, width)``, 0 where invalid, of an area inside the scene, repeated."""
        stored, part = self._stored(area)
        return np.asarray(self._repeated(super().read_mask(stored, bands), part))
