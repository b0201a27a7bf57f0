"""What a quicklook shows of a scene: all of it, decimated, and its liveliest place at full resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import block_mean
from imaging.raster import Area, Scene
from imaging.report.layers import Trio, put_means

Layers = dict[str, NDArray[np.float32]]
_BLOCK = 768
_CELLS = 8
"""Cells along the shorter side of the detail; it is placed on their lattice."""


@dataclass(frozen=True)
class Excerpt:
    """Layers ``(bands, H, W)`` of the bands that are shown, in stored units, NaN where invalid.

    A value of the overview is the mean of ``step`` times ``step`` pixels of the restored scene; the detail is its ``area``, pixel by pixel.
    ``limits``, ``(bands, 2)``, are the 2nd and 98th percentile of the overview's measured values.
    """

    overview: Layers
    step: int
    detail: Layers
    area: Area
    limits: NDArray[np.float64]


def excerpt(trio: Trio, bands: list[int], side: int, share: int = 4) -> Excerpt:
    """Read a scene block by block and keep what is shown of ``bands``, counted from 0; memory does not grow with the scene.

    The overview has at most ``side`` values along a side; the sides of the detail, in values, are the overview's divided by ``share``.
    """
    step = max(1, -(-max(trio.restored.height, trio.restored.width) // side))
    overview = _decimated(trio, bands, step)
    limits = np.array([percentiles(v) for v in overview["measured"]])
    height, width = overview["measured"].shape[1:]
    shape = (min(max(8, height // share), trio.restored.height), min(max(8, width // share), trio.restored.width))
    area = liveliest(trio.restored, bands, limits, shape)
    return Excerpt(overview, step, {k: v[bands] for k, v in trio.read(area).items()}, area, limits)


def percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """2nd and 98th percentile of what is finite, apart from each other in any case."""
    known = values[np.isfinite(values)]
    low, high = map(float, np.percentile(known, (2, 98))) if known.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + max(1e-6, 1e-3 * abs(low)))


def _decimated(trio: Trio, bands: list[int], step: int) -> Layers:
    height, width = trio.restored.height, trio.restored.width
    whole = {k: np.full((len(bands), -(-height // step), -(-width // step)), np.nan, np.float32) for k in trio.names}
    for area in trio.restored.blocks(step * max(1, _BLOCK // step)):
        for name, values in trio.read(area).items():
            put_means(whole[name], values[bands], area, step)
    return whole


def liveliest(scene: Scene, bands: list[int], limits: NDArray[np.float64], shape: tuple[int, int]) -> Area:
    """The part of a scene, of a shape and on a lattice of an eighth of it, in which neighbouring pixels differ most.

    Values are first clipped to the limits of the display, so that one very bright roof is not livelier than a town.
    """
    cell = max(1, min(shape) // _CELLS)
    energy = np.zeros((-(-scene.height // cell), -(-scene.width // cell)))
    low, span = limits[:, :1, None], np.ptp(limits, axis=1)[:, None, None]
    for area in scene.blocks(cell * max(1, _BLOCK // cell)):
        values, valid = scene.read(area)
        shown = np.where(valid[bands], ((values[bands] - low) / span).clip(0, 1), np.nan)
        slope = np.zeros(shown.shape)
        slope[:, 1:] += np.nan_to_num(np.abs(np.diff(shown, axis=1)))
        slope[:, :, 1:] += np.nan_to_num(np.abs(np.diff(shown, axis=2)))
        padded = np.pad(slope.sum(0), ((0, -area.height % cell), (0, -area.width % cell)))
        means, row, column = block_mean(padded, cell), area.row // cell, area.column // cell
        energy[row : row + means.shape[0], column : column + means.shape[1]] = means
    sums = _boxes(energy, (max(1, shape[0] // cell), max(1, shape[1] // cell)))
    first = [cell * int(k) for k in np.unravel_index(int(sums.argmax()), sums.shape)]
    return Area(min(first[0], scene.height - shape[0]), min(first[1], scene.width - shape[1]), *shape)


def _boxes(cells: NDArray[np.float64], box: tuple[int, int]) -> NDArray[np.float64]:
    """Sums of all boxes of so many rows and columns of cells, by their first cell."""
    sums = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = (min(n, s) for n, s in zip(box, cells.shape, strict=True))
    return np.asarray(sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w])
