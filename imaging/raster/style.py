"""How QGIS shows a raster of standard deviations: a style file (QML) beside it with the same stem, which it applies by itself."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape

import numpy as np
import rasterio

from imaging.raster.opening import opening
from imaging.raster.summary import summarise

_STEPS = 8
"""Intervals between the colours that are listed; QGIS interpolates between them."""


def style_of(path: Path) -> str:
    """A style for QGIS that shows one band of a raster in pseudocolours, with its unit.

    Of several bands it is the first that has valid pixels: a value can be read off a colour then, which it cannot off a mixture of three.
    Colours are equal steps from the band's 2nd to its 98th percentile; pixels without data are transparent.

    Parameters
    ----------
    path : Path
        A raster file.

    Returns
    -------
    str
        Text of the ``.qml`` file.
    """
    with opening(), rasterio.open(path) as source:
        count, units, scales, offsets = source.count, source.units, source.scales, source.offsets
    band, low, high = 1, 0.0, 1.0
    for candidate in range(1, count + 1):
        summary = summarise(path, candidate)
        if summary is not None:
            band, low, high = candidate, summary.low, summary.high
            break
    scale, offset = scales[band - 1], offsets[band - 1]  # QGIS applies them before it looks up colours
    low, high = sorted((scale * low + offset, scale * high + offset))
    if low == high:
        low, high = min(0.0, low), max(high, 0.0) or 1.0
    unit = escape(units[band - 1] or "", {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"})
    found = {"band": band, "low": f"{low:.17g}", "high": f"{high:.17g}", "suffix": f" {unit}" if unit else ""}
    for k, value in enumerate(np.linspace(low, high, _STEPS + 1)):
        found |= {f"value{k}": f"{value:.17g}", f"label{k}": f"{value:.4g} {unit}".strip()}
    return Template(_template()).substitute(found)


def _template() -> str:
    """The style as QGIS 3.22 writes it, later versions read it; what depends on the raster is left open."""
    return files("imaging.raster").joinpath("style.qml").read_text(encoding="utf-8")


def has_own_style(path: Path) -> bool:
    """Whether a file is a style as this package wrote it; one saved by QGIS afterwards is not."""
    try:
        with path.open(encoding="utf-8") as file:
            return [file.readline() for _ in range(2)] == _template().splitlines(keepends=True)[:2]
    except (OSError, UnicodeDecodeError):
        return False
