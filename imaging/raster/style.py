"""How QGIS shows a raster of standard deviations: a style file (QML) beside it with the same stem, which it applies by itself.

The structure is the one QGIS 3.22 writes; later versions read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
import rasterio
from numpy.typing import NDArray

from imaging.raster.colours import viridis
from imaging.raster.scene import opening
from imaging.raster.summary import summarise

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_MARK = "<!-- written by imaging-restore -->\n"
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
    return _DOCTYPE + _MARK + _text(_document(band, low, high, units[band - 1] or ""))


def has_own_style(path: Path) -> bool:
    """Whether a file is a style as this package wrote it; one saved by QGIS afterwards is not."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline() == _DOCTYPE and file.readline() == _MARK
    except (OSError, UnicodeDecodeError):
        return False


def _text(root: Element) -> str:
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _document(band: int, low: float, high: float, unit: str) -> Element:
    root = Element(
        "qgis", version="3.22.0", styleCategories="AllStyleCategories", hasScaleBasedVisibilityFlag="0", minScale="1e+08", maxScale="0"
    )
    flags = SubElement(root, "flags")
    for name, value in (("Identifiable", "1"), ("Removable", "1"), ("Searchable", "1"), ("Private", "0")):
        SubElement(flags, name).text = value
    pipe = SubElement(root, "pipe")
    nearest = {"zoomedInResamplingMethod": "nearestNeighbour", "zoomedOutResamplingMethod": "nearestNeighbour"}
    SubElement(SubElement(pipe, "provider"), "resampling", {"enabled": "false", "maxOversampling": "2"} | nearest)
    _renderer(pipe, band, low, high, unit)
    SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    tint = {"colorizeRed": "255", "colorizeGreen": "128", "colorizeBlue": "128", "colorizeStrength": "100"}
    SubElement(pipe, "huesaturation", {"saturation": "0", "grayscaleMode": "0", "colorizeOn": "0"} | tint)
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    SubElement(pipe, "resamplingStage").text = "resamplingFilter"
    SubElement(root, "blendMode").text = "0"
    return root


def _renderer(pipe: Element, band: int, low: float, high: float, unit: str) -> None:
    limits = {"classificationMin": _number(low), "classificationMax": _number(high)}
    settings = {"type": "singlebandpseudocolor", "band": str(band), "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = SubElement(pipe, "rasterrenderer", settings | limits)
    SubElement(renderer, "rasterTransparency")
    origin = SubElement(renderer, "minMaxOrigin")
    for name, value in (
        ("limits", "CumulativeCut"), ("extent", "WholeRaster"), ("statAccuracy", "Exact"), ("cumulativeCutLower", "0.02"),
        ("cumulativeCutUpper", "0.98"), ("stdDevFactor", "2"),
    ):  # fmt: skip
        SubElement(origin, name).text = value
    shader = SubElement(
        SubElement(renderer, "rastershader"), "colorrampshader", minimumValue=_number(low), maximumValue=_number(high),
        colorRampType="INTERPOLATED", classificationMode="1", clip="0", labelPrecision="4",
    )  # fmt: skip
    shown = viridis()[np.linspace(0, 255, _STEPS + 1).round().astype(int)]
    _ramp(shader, shown)
    for value, colour in zip(np.linspace(low, high, _STEPS + 1), shown, strict=True):
        label = f"{value:.4g} {unit}".strip()
        SubElement(shader, "item", value=_number(float(value)), color="#" + bytes(colour).hex(), alpha="255", label=label)
    _legend(shader, unit)


def _ramp(shader: Element, shown: NDArray[np.uint8]) -> None:
    """The colours as a gradient, so that they stay when limits are changed in QGIS."""
    colours = [",".join(map(str, [*c, 255])) for c in shown.tolist()]
    stops = ":".join(f"{k / _STEPS:g};{c}" for k, c in enumerate(colours[1:-1], start=1))
    options = {"color1": colours[0], "color2": colours[-1], "discrete": "0", "rampType": "gradient", "stops": stops}
    _options(SubElement(shader, "colorramp", type="gradient", name="[source]"), ((k, "QString", v) for k, v in options.items()))


def _legend(shader: Element, unit: str) -> None:
    legend = SubElement(
        shader, "rampLegendSettings", useContinuousLegend="1", orientation="2", direction="0", prefix="", suffix=f" {unit}" if unit else "",
        minimumLabel="", maximumLabel="",
    )  # fmt: skip
    _options(
        SubElement(legend, "numericFormat", id="basic"),
        [
            ("decimal_separator", "QChar", ""), ("decimals", "int", "6"), ("rounding_type", "int", "0"), ("show_plus", "bool", "false"),
            ("show_thousand_separator", "bool", "false"), ("show_trailing_zeros", "bool", "false"), ("thousand_separator", "QChar", ""),
        ],
    )  # fmt: skip


def _options(parent: Element, items: Iterable[tuple[str, str, Any]]) -> None:
    table = SubElement(parent, "Option", type="Map")
    for name, kind, value in items:
        SubElement(table, "Option", name=name, type=kind, value=str(value))


def _number(value: float) -> str:
    """As exact as QGIS writes it."""
    return f"{value:.17g}"
