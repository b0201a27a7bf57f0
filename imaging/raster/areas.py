"""Rectangles of pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels, which may reach beyond the scene."""

    row: int
    column: int
    height: int
    width: int

    def grow(self, pixels: int) -> Area:
        """The rectangle enlarged on all sides; shrunk for a negative number."""
        return Area(self.row - pixels, self.column - pixels, self.height + 2 * pixels, self.width + 2 * pixels)
