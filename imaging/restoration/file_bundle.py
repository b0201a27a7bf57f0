"""The two files of a bundle, and what lies at one place of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from imaging.errors import InputError
from imaging.raster import Area, GridRelation, Scene
from imaging.restoration.bundle import Pieces

SIDE = 128
"""Coarse pixels along the sides of the places that statistics come from."""
_MOST = 16
"""How many of these there are, at most."""
_APART = 600.0
"""Seconds between the acquisitions of what is one bundle, at most."""
_DATE = len("2024-05-01")


@dataclass(frozen=True)
class FileBundle:
    """A sharp and a coarse scene, open, and how their grids lie on each other; see `KnownBundle`.

    Coarse pixel ``i`` begins at sharp pixel ``ratio * (i + first)``, up to ``shift``.
    """

    ms: Scene
    pan: Scene
    relation: GridRelation

    @property
    def ratio(self) -> int:
        """Sharp pixels to a coarse one along each side."""
        return self.relation.ratio

    @cached_property
    def first(self) -> tuple[int, int]:
        """Row and column of the lattice of the sharp grid at which the coarse grid begins, coarse pixels."""
        r = self.relation
        return int(np.floor(r.row / r.ratio + 0.5)), int(np.floor(r.column / r.ratio + 0.5))

    @property
    def shift(self) -> tuple[float, float]:
        """To the right and down, sharp pixels, between minus and plus half the ratio."""
        r = self.relation
        return r.column - r.ratio * self.first[1], r.row - r.ratio * self.first[0]

    @property
    def dtypes(self) -> tuple[np.dtype[Any], np.dtype[Any]]:
        """Stored types of the sharp and the coarse scene."""
        return self.pan.dtype, self.ms.dtype

    @property
    def descriptions(self) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
        """What the bands of both are called."""
        return self.pan.descriptions, self.ms.descriptions

    def read(self, area: Area) -> Pieces:
        """What lies in a sharp area that begins on the lattice and is whole coarse pixels; it may reach beyond the scenes."""
        r = self.ratio
        low = Area(area.row // r - self.first[0], area.column // r - self.first[1], area.height // r, area.width // r)
        return Pieces(*self.pan.read(area), *self.ms.read(low))

    @cached_property
    def _sampled(self) -> list[tuple[Area, Pieces]]:
        r, side = self.ratio, self.ratio * SIDE
        sharp = self.pan
        blocks = [a for a in sharp.blocks(side) if min(a.height, a.width) >= side // 4] or sharp.blocks(side)
        areas = [Area(a.row, a.column, -(-a.height // r) * r, -(-a.width // r) * r) for a in blocks]
        found = sampled(areas, self.read)
        if not found:
            raise InputError(
                f"{self.ms.path} and {self.pan.path} have no valid pixel in common: are they of one place, or one of them empty?"
            )
        return found

    def pieces(self) -> list[Pieces]:
        """See `KnownBundle`; `InputError` where no pixel is valid in both."""
        return [p for _, p in self._sampled]

    def places(self) -> list[tuple[float, float]]:
        """See `KnownBundle`."""
        return [(a.row + a.height / 2, a.column + a.width / 2) for a, _ in self._sampled]


def sampled(areas: list[Area], read: Callable[[Area], Pieces]) -> list[tuple[Area, Pieces]]:
    """Some of the areas, spread over all, that have a pixel which is valid in all bands of both; one of the others where none has."""
    count = min(_MOST, len(areas))
    spread = [areas[(2 * k + 1) * len(areas) // (2 * count)] for k in range(count)]
    found = [(a, p) for a in spread if _shared(p := read(a))]
    others = ((a, p) for a in areas if a not in spread and _shared(p := read(a)))
    return found or list(islice(others, 1))


def _shared(pieces: Pieces) -> bool:
    """Whether any pixel is valid in all bands of both."""
    low = pieces.coarse_valid.all(0)
    r = pieces.sharp_valid.shape[1] // low.shape[0]
    return bool((low.repeat(r, 0).repeat(r, 1) & pieces.sharp_valid.all(0)).any())


def check_moment(ms: Scene, pan: Scene, told: Sequence[str | None] = (None, None)) -> None:
    """Refuse two scenes that were acquired at different moments; `InputError` with both.

    What products' metadata tell of each, ISO 8601, holds before what the files do; of a date alone the day has to agree.
    """
    texts = [of_product or _of_file(scene) for scene, of_product in zip((ms, pan), told, strict=True)]
    moments = [_moment(t) for t in texts]
    if moments[0] is None or moments[1] is None:
        return
    by_day = any(len(t) <= _DATE for t in texts)
    apart = abs((moments[0] - moments[1]).total_seconds())
    if moments[0].date() != moments[1].date() if by_day else apart > _APART:
        raise InputError(f"{ms.path} was acquired at {texts[0]}, {pan.path} at {texts[1]}: the scenes of a bundle are of one moment")


def _of_file(scene: Scene) -> str:
    """When a scene was acquired, as GDAL's drivers of products tell it."""
    return str(scene.source.tags(ns="IMAGERY").get("ACQUISITIONDATETIME", "")).strip()


def _moment(text: str) -> datetime | None:
    """A moment, UTC where no zone is named; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
