"""Panels, captions and colour bars of a quicklook, put on one sheet."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imaging.raster import Area

MARGIN, GAP = 20, 16
_TITLE, _CAPTION, _FOOT = 48, 30, 92
_NARROWEST = 400
_PAPER, _INK, _SOFT, _FRAME = (255, 255, 255), (24, 28, 36), (88, 96, 110), (232, 30, 70)
_LARGE, _MIDDLE, _SMALL = 24, 18, 15

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class ColourBar:
    """A colour bar: its table ``(256, 3)``, equally spaced readings above and below."""

    table: Picture
    above: list[str]
    below: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """One quantity: caption, whole scene and detail ``(H, W, 3)``, and what stands below them."""

    title: str
    overview: Picture
    detail: Picture
    note: str = ""
    bar: ColourBar | None = None


@dataclass(frozen=True)
class Sheet:
    """A quicklook: columns from left to right, each with the whole scene above and a detail below it; title and subtitle share a line.

    A value of the overview stands for ``step`` times ``step`` pixels of the scene and is drawn on ``zoom`` times ``zoom``, a value of the
    detail on ``detail_zoom`` times ``detail_zoom``. ``area`` is the detail's place in the scene, framed in the overview; ``caption`` is the
    overview's.
    """

    title: str
    subtitle: str
    columns: tuple[Column, ...]
    zoom: int
    detail_zoom: int
    step: int
    area: Area
    caption: str

    @property
    def panel(self) -> tuple[int, int]:
        """Height and width of a panel that shows the whole scene."""
        height, width = self.columns[0].overview.shape[:2]
        return height * self.zoom, width * self.zoom

    @property
    def closeup(self) -> tuple[int, int]:
        """Height and width of a panel that shows the detail."""
        height, width = self.columns[0].detail.shape[:2]
        return height * self.detail_zoom, width * self.detail_zoom

    @property
    def breadth(self) -> int:
        """Width of a column."""
        return max(self.panel[1], self.closeup[1], _NARROWEST)

    def corners(self, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Row and column of the first pixel of both panels of a column."""
        left, top = MARGIN + column * (self.breadth + GAP), MARGIN + _TITLE + _CAPTION
        return (top, left), (top + self.panel[0] + _CAPTION, left)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        width = 2 * MARGIN + len(self.columns) * self.breadth + (len(self.columns) - 1) * GAP
        return self.corners(0)[1][0] + self.closeup[0] + _FOOT, width


def draw(sheet: Sheet) -> bytes:
    """A PNG file of a sheet."""
    pixels = np.full((*sheet.size, 3), _PAPER, np.uint8)
    for number, column in enumerate(sheet.columns):
        first, second = sheet.corners(number)
        _put(pixels, first, column.overview, sheet.zoom)
        _put(pixels, second, column.detail, sheet.detail_zoom)
        if column.bar is not None:
            ramp = column.bar.table[np.linspace(0, 255, sheet.breadth).round().astype(int)]
            _put(pixels, (second[0] + sheet.closeup[0] + 30, second[1]), np.broadcast_to(ramp, (14, sheet.breadth, 3)), 1)
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    _head(pen, sheet)
    for number, column in enumerate(sheet.columns):
        _letter(pen, sheet, number, column)
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _put(pixels: Picture, corner: tuple[int, int], picture: Picture, zoom: int) -> None:
    large = picture.repeat(zoom, 0).repeat(zoom, 1)
    pixels[corner[0] : corner[0] + large.shape[0], corner[1] : corner[1] + large.shape[1]] = large


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, room: float, ink: tuple[int, int, int] = _INK
) -> float:  # fmt: skip
    """Write from a place (x, y) on, at most so wide; returns the width."""
    font = _font(size)
    while pen.textlength(text, font) > room and len(text) > 4:
        text = text[:-4] + "..."
    pen.text(place, text, ink, font)
    return float(pen.textlength(text, font))


def _head(pen: ImageDraw.ImageDraw, sheet: Sheet) -> None:
    room = sheet.size[1] - 2 * MARGIN
    used = _write(pen, (MARGIN, MARGIN), sheet.title, _LARGE, room / 2)
    _write(pen, (MARGIN + round(used) + GAP, MARGIN + 6), sheet.subtitle, _MIDDLE, room - used - GAP, _SOFT)


def _letter(pen: ImageDraw.ImageDraw, sheet: Sheet, number: int, column: Column) -> None:
    (top, left), (second, _) = sheet.corners(number)
    _write(pen, (left, top - 25), column.title, _MIDDLE, sheet.breadth)
    if number == 0:
        a = sheet.area
        rows, columns = f"{a.row} to {a.row + a.height - 1}", f"{a.column} to {a.column + a.width - 1}"
        place = f"{sheet.caption}; framed and below x {sheet.detail_zoom}: rows {rows}, columns {columns}"
        _write(pen, (left, second - 23), place, _SMALL, 2 * sheet.breadth, _SOFT)
    _frame(pen, sheet, (top, left))
    bottom = second + sheet.closeup[0] + 8
    if column.bar is None:
        _write(pen, (left, bottom), column.note, _SMALL, 2 * sheet.breadth, _SOFT)  # the next column has none
        return
    for texts, row in ((column.bar.above, bottom), (column.bar.below, bottom + 40)):
        _scale(pen, texts, (left, row), sheet.breadth)
    _write(pen, (left, bottom + 58), column.note, _SMALL, sheet.breadth, _SOFT)


def _scale(pen: ImageDraw.ImageDraw, texts: list[str], place: tuple[int, int], width: int) -> None:
    """Readings along a bar: the first starts with it, the last ends with it."""
    font = _font(_SMALL)
    for k, text in enumerate(texts):
        share = k / (len(texts) - 1)
        pen.text((place[0] + share * (width - pen.textlength(text, font)), place[1]), text, _INK, font)


def _frame(pen: ImageDraw.ImageDraw, sheet: Sheet, corner: tuple[int, int]) -> None:
    """Mark the place of the detail in the whole scene, just outside of it."""
    a, (top, left) = sheet.area, corner
    edges = [left + a.column * sheet.zoom // sheet.step, top + a.row * sheet.zoom // sheet.step]
    ends = [left + (a.column + a.width) * sheet.zoom // sheet.step, top + (a.row + a.height) * sheet.zoom // sheet.step]
    pen.rectangle((edges[0] - 2, edges[1] - 2, ends[0] + 1, ends[1] + 1), outline=_FRAME, width=2)
