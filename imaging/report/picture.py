"""One picture of a restoration: measured, restored and how sure each pixel is, whole and in detail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.raster import Scene
from imaging.report.colours import NOTHING, coloured, diverging, viridis
from imaging.report.drawing import ColourBar, Column, Sheet, draw
from imaging.report.excerpt import Excerpt, Layers, excerpt, percentiles
from imaging.report.layers import COLOURS, Job, opened
from imaging.restoration import SceneResult

_SIDES, _LARGEST = (560, 448, 360), 2e6
"""Pixels along a side of a panel, at most, and bytes of the file: pictures of much noise or texture get smaller panels."""
_MOST_ZOOM, _DETAIL = 10, 4


def quicklook(job: Job, result: SceneResult) -> bytes:
    """Draw what a restoration did.

    Side by side stand the measured scene, the restored one, and the standard deviation, or, without one, the difference; below each, the
    place of the highest contrast pixel by pixel. Measured and restored have one contrast: the 2nd to 98th percentile of what was measured.
    Red, green and blue bands, where their common names are known, are shown in colours, otherwise the first band in grey. Uncertainty and
    difference are means over the bands shown, in the scene's unit and in percent of the median restored value.

    Parameters
    ----------
    job, result : Restoration or Fusion, SceneResult
        Of a finished restoration or fusion whose scene is still open, as ``afterwards`` of `imaging.restoration.restore_scene` gets them.

    Returns
    -------
    bytes
        A PNG file of at most 2000 pixels along its width and about 2 MB.
    """
    with opened(job) as trio:
        bands = picture_bands([b.common_name for b in job.bands])
        value, names = _Value.of(trio.restored, trio.std, bands[0]), [job.bands[b].name for b in bands]
        for side in _SIDES:
            data = draw(_sheet(job, result, excerpt(trio, bands, side, _DETAIL), value, names, side))
            if len(data) <= _LARGEST:
                break
    return data


def picture_bands(names: list[str | None]) -> list[int]:
    """Places of red, green and blue among the bands' common names, otherwise that of the first band."""
    return [names.index(c) for c in COLOURS] if set(COLOURS) <= set(names) else [0]


@dataclass(frozen=True)
class _Value:
    """What a stored value means: ``scale * stored + offset`` in a unit."""

    scale: float
    offset: float
    unit: str

    @classmethod
    def of(cls, restored: Scene, std: Scene | None, band: int) -> _Value:
        source = restored.source
        scale, offset = float(source.scales[band]), float(source.offsets[band])
        known = source.units[band] or (std.source.units[band] if std is not None else None)
        return cls(scale, offset, known or ("DN" if (scale, offset) == (1, 0) else ""))

    def reading(self, value: float, *, difference: bool = False) -> str:
        """A stored value, or a difference of two, for people."""
        return f"{self.scale * value + (0 if difference else self.offset):.4g}"


def stretched(values: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Picture ``(H, W, 3)`` of one band or three ``(bands, H, W)``, black to white between limits ``(bands, 2)``."""
    known = np.isfinite(values).all(0)
    low, span = limits[:, :1, None], np.ptp(limits, axis=1)[:, None, None]
    share = ((np.where(known, values, low) - low) / span).clip(0, 1)
    grey = np.moveaxis((255 * share).round().astype(np.uint8), 0, -1)
    return np.where(known[..., None], np.broadcast_to(grey, (*known.shape, 3)), np.array(NOTHING, np.uint8))


def _sheet(job: Job, result: SceneResult, part: Excerpt, value: _Value, names: list[str], side: int) -> Sheet:
    height, width = part.overview["measured"].shape[1:]
    zoom = max(1, min(side // max(height, width), _MOST_ZOOM)) if part.step == 1 else 1
    figures = result.reference or {}
    contrast = ", ".join(
        f"{n + ' ' if len(names) > 1 else ''}{value.reading(low)} to {value.reading(high)}"
        for n, (low, high) in zip(names, part.limits, strict=True)
    )
    columns = [
        Column(
            title + (f", PSNR {figures[key]:.2f} dB" if key in figures else ""),
            stretched(part.overview[name], part.limits), stretched(part.detail[name], part.limits), note,
        )
        for name, title, key, note in (
            ("measured", "Measured", "psnr_before", f"Both from black to white: {contrast} {value.unit}".rstrip()),
            ("restored", "Restored", "psnr_after", ""),
        )
    ]  # fmt: skip
    scale = f"scale {result.scale}, " if result.scale != 1 else ""
    return Sheet(
        title=job.paths.input.name,
        subtitle=f"sensor {result.sensor}, prior {result.prior}, method {result.method}, {scale}imaging-restore {result.version}",
        columns=(*columns, _third(part, value, names, "std" in part.overview)), zoom=zoom, detail_zoom=_DETAIL * zoom, step=part.step,
        area=part.area, caption="Whole scene" + ("" if part.step == 1 else f", 1 : {part.step}"),
    )  # fmt: skip


def _third(part: Excerpt, value: _Value, names: list[str], certain: bool) -> Column:
    """Standard deviation, or difference of restored and measured."""
    if certain:
        whole, detail = (_mean(layers["std"]) for layers in (part.overview, part.detail))
        (low, high), table, title = percentiles(whole), viridis(), "Standard deviation"
    else:
        whole, detail = (_mean(layers["restored"] - layers["measured"]) for layers in (part.overview, part.detail))
        high = percentiles(np.abs(whole))[1]
        low, table, title = -high, diverging(), "Restored minus measured"
    if len(names) > 1:
        title += f", mean of {', '.join(names)}"
    places = np.linspace(low, high, 5)
    middle = _median(part.overview, value)
    percent = [f"{100 * value.scale * p / middle:.3g} %" for p in places] if middle > 0 else []
    bar = ColourBar(table, [f"{value.reading(p, difference=True)} {value.unit}".strip() for p in places], percent)
    note = "Percent of the median restored value" if percent else ""
    return Column(title, coloured(whole, low, high, table), coloured(detail, low, high, table), note, bar)


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over bands, NaN where one is invalid."""
    return np.asarray(values.mean(0, dtype=np.float64))


def _median(overview: Layers, value: _Value) -> float:
    """Median of the restored values, in the unit; 0 where there are none."""
    restored = _mean(overview["restored"])
    known = restored[np.isfinite(restored)]
    return value.scale * float(np.median(known)) + value.offset if known.size else 0.0
