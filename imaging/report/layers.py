"""What a report shows of a scene: an overview and places at full resolution, chosen in one pass over the rasters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import block_mean
from imaging.raster import Area, Scene
from imaging.restoration import Fusion, Restoration
from imaging.sensors import ANY_BAND

Job = Restoration | Fusion
"""What is reported."""
LAYERS = ("measured", "restored", "std")
COLOURS = ("red", "green", "blue")
_BLOCK = 768
_SEED = 5


@dataclass(frozen=True)
class Trio:
    """Open rasters of one run on the grid of the outputs: measured, restored, and, where there is one, the standard deviation."""

    measured: Scene
    restored: Scene
    std: Scene | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers."""
        return LAYERS if self.std is not None else LAYERS[:2]

    def read(self, area: Area) -> dict[str, NDArray[np.float32]]:
        """Layers ``(bands, H, W)`` of an area in stored units, NaN where invalid."""
        values, valid = self.measured.read(area)
        restored, good = self.restored.read(area)
        good &= valid
        found = {"measured": np.where(valid, values, np.nan), "restored": np.where(good, restored, np.nan)}
        if self.std is not None:
            spread, known = self.std.read(area)
            found["std"] = np.where(known & good, spread, np.nan)
        return {name: np.asarray(array, np.float32) for name, array in found.items()}


def unit_of(job: Job) -> str:
    """Unit of the stored values."""
    source, band = job.scene.source, job.scene.bands[0] - 1
    own = source.units[band]
    return own if own and (source.scales[band], source.offsets[band]) == (1, 0) else "DN"


def band_names(job: Job) -> list[str]:
    """Names of the bands: as the scene describes them, as the profile has them, or by number."""
    return [
        d or (b.name if b.name != ANY_BAND else f"band {n}")
        for d, b, n in zip(job.scene.descriptions, job.bands, job.scene.bands, strict=True)
    ]


def common_names(job: Job) -> list[str | None]:
    """What is known of the bands' colours: from the profile, the file's colour interpretation or its descriptions."""
    found = []
    for band, number, description in zip(job.bands, job.scene.bands, job.scene.descriptions, strict=True):
        interpreted = str(job.scene.source.colorinterp[number - 1].name).lower()
        own = [n for n in (interpreted, (description or "").lower()) if n in COLOURS]
        found.append(band.common_name or (own[0] if own else None))
    return found


def factors(job: Job) -> list[int]:
    """Pixels of the outputs to a measured one along each side, for each band."""
    return list(job.ratios) if isinstance(job, Fusion) else [job.scale] * len(job.bands)


@contextmanager
def opened(job: Job) -> Iterator[Trio]:
    """The rasters of a finished restoration or fusion; the scene of the job has to be open."""
    bands = tuple(range(1, len(job.scene.bands) + 1))
    with Scene(job.paths.restored_path, bands) as restored:
        if job.paths.std_path is None:
            yield Trio(job.grid, restored, None)
        else:
            with Scene(job.paths.std_path) as std:
                yield Trio(job.grid, restored, std)


@dataclass(frozen=True)
class View:
    """A part of the scene to look at, with a name for people and its area in pixels of the outputs.

    ``layers`` are arrays ``(bands, H, W)`` in stored units by layer, NaN where invalid, each value the mean of a square of ``step`` pixels
    along its sides. With a step above 1 there is also ``change``, the mean absolute difference of restored and measured values.
    """

    name: str
    area: Area
    step: int
    layers: dict[str, NDArray[np.float32]]


@dataclass
class Survey:
    """One pass over a scene: its overview, its histograms, and squares of it with their scores.

    ``edges``, ``(bands, bins + 1)``, and ``counts``, ``(bands, bins)`` for measured and restored, make the histograms. ``uncertain`` scores
    squares by their mean standard deviation, ``changed`` by the mean absolute difference between restored and measured, both relative to
    the spread of the band's values and averaged over bands.
    """

    overview: View
    edges: NDArray[np.float64]
    counts: dict[str, NDArray[np.int64]]
    uncertain: list[tuple[float, Area]] = field(default_factory=list)
    changed: list[tuple[float, Area]] = field(default_factory=list)


def survey(trio: Trio, ranges: NDArray[np.float64], side: int, chip: int, bins: int = 96) -> Survey:
    """Read everything once, block by block.

    ``ranges``, ``(bands, 2)``, are the lowest and highest value of the histograms, which have so many ``bins``. ``side`` is the most pixels
    along a side of the overview, ``chip`` the side of the squares that are scored.
    """
    height, width = trio.restored.height, trio.restored.width
    step = -(-max(height, width) // side)
    block = step * max(1, _BLOCK // step)
    shape = (len(ranges), -(-height // step), -(-width // step))
    whole = {name: np.full(shape, np.nan, np.float32) for name in trio.names}
    whole |= {"change": np.full(shape, np.nan, np.float32)} if step > 1 else {}
    edges = np.stack([_edges(low, high, bins, whole_numbers=trio.restored.dtype.kind in "iu") for low, high in ranges])
    counts = {name: np.zeros((len(ranges), bins), np.int64) for name in LAYERS[:2]}
    found = Survey(View("Whole scene", Area(0, 0, height, width), step, whole), edges, counts)
    for area in trio.restored.blocks(block):
        layers = trio.read(area)
        change = {"change": np.abs(layers["restored"] - layers["measured"])} if step > 1 else {}
        for name, array in (layers | change).items():
            put_means(whole[name], array, area, step)
        for name, count in counts.items():
            for band, (values, edge) in enumerate(zip(layers[name], edges, strict=True)):
                known = values[np.isfinite(values)].clip(edge[0], edge[-1])
                count[band] += np.histogram(known, edge)[0]
        _rank(found, area, layers, np.ptp(ranges, axis=1), chip)
    return found


def _edges(low: float, high: float, bins: int, *, whole_numbers: bool) -> NDArray[np.float64]:
    """Edges of a histogram's classes; of whole numbers each class holds as many."""
    if not whole_numbers:
        return np.linspace(low, high, bins + 1)
    wide = max(1, int(np.ceil((high - low + 1) / bins)))
    return np.asarray(np.floor(low) - 0.5 + wide * np.arange(bins + 1.0))


def block_means(array: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Means of the valid pixels of squares ``step x step`` of ``(bands, H, W)``, the last ones narrower; NaN without valid pixels."""
    if step == 1:
        return array
    padded = np.pad(array, ((0, 0), (0, -array.shape[1] % step), (0, -array.shape[2] % step)), constant_values=np.nan)
    known = np.isfinite(padded)
    total, share = (block_mean(v, step) for v in (np.where(known, padded, 0), known))
    return np.asarray(np.divide(total, share, out=np.full(share.shape, np.nan), where=share > 0), np.float32)


def put_means(whole: NDArray[np.float32], values: NDArray[np.float32], area: Area, step: int) -> None:
    """Put the `block_means` of an area, which begins at a multiple of the step, into their place in those of the whole scene."""
    small, row, column = block_means(values, step), area.row // step, area.column // step
    whole[:, row : row + small.shape[1], column : column + small.shape[2]] = small


def _rank(found: Survey, area: Area, layers: dict[str, NDArray[np.float32]], spread: NDArray[np.float64], chip: int) -> None:
    """Score the squares of a block."""
    scale = np.maximum(spread, 1e-12)[:, None, None]
    for row in range(0, area.height - chip + 1, chip):
        for column in range(0, area.width - chip + 1, chip):
            part = {name: a[:, row : row + chip, column : column + chip] / scale for name, a in layers.items()}
            known = np.isfinite(part["restored"])
            if known.mean() < 0.9:
                continue
            place = Area(area.row + row, area.column + column, chip, chip)
            found.changed.append((float(np.abs(part["restored"] - part["measured"])[known].mean()), place))
            if "std" in part:
                found.uncertain.append((float(np.nanmean(part["std"])), place))


def chips(trio: Trio, found: Survey, each: int) -> list[View]:
    """Squares at full resolution: the least certain, the most changed, and some drawn by chance; none twice."""
    rng = np.random.default_rng(_SEED)
    chance = [(float(rng.random()), area) for _, area in found.changed]
    taken: list[Area] = []
    views = []
    for name, scores in (("Least certain", found.uncertain), ("Most changed", found.changed), ("By chance", chance)):
        ranked = [area for _, area in sorted(scores, key=lambda s: -s[0]) if area not in taken][:each]
        taken += ranked
        views += [View(f"{name} {k}", area, 1, trio.read(area)) for k, area in enumerate(ranked, start=1)]
    return views


def shuffled(areas: list[Area]) -> list[Area]:
    """Areas in an order by chance, the same each time: evenly spaced ones may all lie in one strip without data."""
    return [areas[k] for k in np.random.default_rng(_SEED).permutation(len(areas))]


def limits(sample: list[tuple[NDArray[np.float32], NDArray[np.bool_]]], shares: tuple[float, float]) -> NDArray[np.float64]:
    """Quantiles ``(bands, 2)`` of the valid pixels of sampled areas; an empty or constant band gets a range of 1."""
    found = []
    for band in range(sample[0][0].shape[0]):
        values: NDArray[Any] = np.concatenate([v[band][m[band]] for v, m in sample])
        low, high = np.quantile(values, shares) if values.size else (0.0, 1.0)
        found.append((float(low), float(high) if high > low else float(low) + 1.0))
    return np.array(found)
