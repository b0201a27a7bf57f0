"""The tile plan: core areas that partition the scene, each with a window aligned to one lattice."""

from __future__ import annotations

from dataclasses import dataclass

from imaging.errors import InputError
from imaging.raster.scene import Area

STEP = 32
"""Windows start and end on multiples of this many pixels, counted from the lattice's origin."""


def check_side(side: int) -> None:
    """Refuse a tile size that is no multiple of the lattice's step or out of range."""
    if side < 64 or side % STEP or side > 8192:
        raise InputError(f"the tile size is {side}; accepted are multiples of {STEP} from 64 to 8192")


@dataclass(frozen=True)
class Tile:
    """One tile: ``core`` is written, ``window`` is fitted; both in scene pixels."""

    index: int
    core: Area
    window: Area


@dataclass(frozen=True)
class TilePlan:
    """How a scene is cut.

    Attributes
    ----------
    height, width : int
        Of the scene.
    side : int
        Of a core area, a multiple of 32.
    margin : int
        Unknown scene that each window adds around what is measured; the lattice starts at ``-margin``.
    room : int
        Pixels at the lower and right end of each window that are kept free for shifting the latent lattice.
    halo : int
        Measured pixels around a core that take part in its fit.
    """

    height: int
    width: int
    side: int
    margin: int
    room: int
    halo: int

    def __post_init__(self) -> None:
        check_side(self.side)

    def _span(self, start: int, end: int, size: int) -> tuple[int, int]:
        """Window ``(first, length)`` on the lattice that holds measured pixels from ``start`` to ``end``, halo and margin included."""
        low = max(0, start - self.halo) - self.margin
        high = min(size, end + self.halo) + self.margin
        first = (low + self.margin) // STEP * STEP - self.margin
        return first, -(-(high + self.room - first) // STEP) * STEP

    def measured(self, tile: Tile) -> Area:
        """Pixels whose measurement takes part in a tile's fit; they may reach beyond the scene."""
        window, lost = tile.window, 2 * self.margin + self.room
        return Area(window.row + self.margin, window.column + self.margin, window.height - lost, window.width - lost)

    def tiles(self) -> list[Tile]:
        """All tiles, row by row. A remainder thinner than half a core joins its neighbour."""
        found: list[Tile] = []
        for r0, r1 in _cuts(self.height, self.side):
            top, height = self._span(r0, r1, self.height)
            for c0, c1 in _cuts(self.width, self.side):
                left, width = self._span(c0, c1, self.width)
                found.append(Tile(len(found), Area(r0, c0, r1 - r0, c1 - c0), Area(top, left, height, width)))
        return found

    def origin(self, tile: Tile, stride: int) -> tuple[int, int]:
        """Absolute latent row and column of a tile's window."""
        return (tile.window.row + self.margin) // stride, (tile.window.column + self.margin) // stride


def _cuts(size: int, side: int) -> list[tuple[int, int]]:
    starts = list(range(0, size, side))
    if len(starts) > 1 and size - starts[-1] < side // 2:
        starts.pop()
    return list(zip(starts, [*starts[1:], size], strict=True))
