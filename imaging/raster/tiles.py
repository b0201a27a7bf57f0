"""The tile plan: core areas that partition the scene, each with a window aligned to one lattice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

from imaging.errors import InputError
from imaging.raster.areas import Area

STEP = 32
"""Sides of tiles are multiples of this many pixels."""


def check_side(side: int) -> None:
    """Refuse a tile size that is no multiple of the lattice's step or out of range."""
    if side < 64 or side % STEP or side > 8192:
        raise InputError(f"the tile size is {side}; accepted are multiples of {STEP} from 64 to 8192")


def check_halo(halo: int) -> None:
    """Refuse a halo that would take windows off the lattice."""
    if halo < 0 or halo % (STEP // 2):
        raise InputError(f"the halo is {halo}; accepted are multiples of {STEP // 2} from 0")


class _Span(NamedTuple):
    """One tile along one axis: first pixel and length of its core and of its window."""

    core: int
    length: int
    window: int
    extent: int


@dataclass(frozen=True)
class Tile:
    """One tile: ``core`` is written, ``window`` is fitted; both in scene pixels."""

    index: int
    core: Area
    window: Area


@dataclass(frozen=True)
class TilePlan:
    """How a scene is cut.

    All windows have one size, so that tiles can be fitted in batches and memory does not depend on the place of a tile; neighbouring
    windows overlap by at least twice the halo, and cores meet in the middle of the overlap.

    Attributes
    ----------
    height, width : int
        Of the scene.
    side : int
        Of a core area away from the scene's edge, at most; a multiple of 32. Cores at the edge may be larger by the halo, and a scene that
        fits into one window has one core.
    margin : int
        Unknown scene that each window adds around what is measured; the lattice starts at ``-margin``.
    room : int
        Pixels at the lower and right end of each window that are kept free for shifting the latent lattice.
    halo : int
        Measured pixels around a core that take part in its fit, at least; a multiple of 16.
    step : int
        Windows start and end on multiples of this, counted from the lattice's origin: the stride of the coarsest latents.
    """

    height: int
    width: int
    side: int
    margin: int
    room: int
    halo: int
    step: int = STEP

    def __post_init__(self) -> None:
        check_side(self.side)
        check_halo(self.halo)

    def _round_up(self, length: int) -> int:
        return -(-length // self.step) * self.step

    def _spans(self, size: int) -> list[_Span]:
        """Cores and windows along one axis."""
        inner = size - 2 * self.halo
        if inner <= self.side:
            starts, length = [0], size
        else:
            pace = self._round_up(-(-inner // -(-inner // self.side)))
            length = pace + 2 * self.halo
            starts = [*range(0, inner - pace, pace), self._round_up(size - length)]
        cuts = [0, *((a + length + b) // 2 for a, b in pairwise(starts)), size]
        window = self._round_up(length + 2 * self.margin + self.room)
        return [_Span(low, high - low, start - self.margin, window) for start, (low, high) in zip(starts, pairwise(cuts), strict=True)]

    def measured(self, tile: Tile) -> Area:
        """Pixels whose measurement takes part in a tile's fit; they may reach beyond the scene."""
        window, lost = tile.window, 2 * self.margin + self.room
        return Area(window.row + self.margin, window.column + self.margin, window.height - lost, window.width - lost)

    def tiles(self) -> list[Tile]:
        """All tiles, row by row."""
        places = product(self._spans(self.height), self._spans(self.width))
        return [
            Tile(k, Area(r.core, c.core, r.length, c.length), Area(r.window, c.window, r.extent, c.extent))
            for k, (r, c) in enumerate(places)
        ]

    def origin(self, tile: Tile, stride: int) -> tuple[int, int]:
        """Absolute latent row and column of a tile's window."""
        return (tile.window.row + self.margin) // stride, (tile.window.column + self.margin) // stride
