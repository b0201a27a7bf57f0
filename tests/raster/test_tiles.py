"""Tile plans: what is written partitions the scene, what is fitted lies on one lattice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.raster import Area, TilePlan
from imaging.raster.tiles import STEP

SIZES = (1, 5, 31, 63, 64, 65, 95, 96, 97, 127, 200, 333)
SHAPES = [*itertools.product(SIZES, (1, 64, 97, 200)), (700, 3), (3, 1000)]


def plan(height: int, width: int, side: int = 64, margin: int = 17, room: int = 4, halo: int = 32) -> TilePlan:
    return TilePlan(height, width, side, margin, room, halo)


@pytest.mark.parametrize("side", [64, 96, 128])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_cores_partition_the_scene(height: int, width: int, side: int) -> None:
    count = np.zeros((height, width), int)
    tiles = plan(height, width, side).tiles()
    for tile in tiles:
        core = tile.core
        assert core.row >= 0
        assert core.column >= 0
        assert core.row + core.height <= height
        assert core.column + core.width <= width
        count[core.row : core.row + core.height, core.column : core.column + core.width] += 1
    assert (count == 1).all()
    assert [t.index for t in tiles] == list(range(len(tiles)))


@pytest.mark.parametrize("halo", [0, 16, 32])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_cores_are_neither_slivers_nor_much_larger_than_asked(height: int, width: int, halo: int) -> None:
    for tile in plan(height, width, halo=halo).tiles():
        for length, size in ((tile.core.height, height), (tile.core.width, width)):
            assert min(size, 16) <= length <= 64 + 2 * halo


def test_cores_away_from_the_edge_have_the_side_asked_for_or_less() -> None:
    cores = {t.core.row: t.core.height for t in plan(1000, 50, side=96, halo=32).tiles()}
    assert all(96 - STEP < length <= 96 for row, length in cores.items() if row and row + length < 850)
    assert len(cores) == 10  # (1000 - 2 x 32) / 96, rounded up


@pytest.mark.parametrize("halo", [0, 16, 32])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_windows_lie_on_the_lattice_and_hold_what_their_core_needs(height: int, width: int, halo: int) -> None:
    p = plan(height, width, halo=halo)
    tiles = p.tiles()
    assert len({(t.window.height, t.window.width) for t in tiles}) == 1
    for tile in tiles:
        core, window = tile.core, tile.window
        axes = (
            (core.row, core.height, window.row, window.height, height),
            (core.column, core.width, window.column, window.width, width),
        )
        for first, length, start, extent, size in axes:
            assert (start + p.margin) % STEP == 0
            assert extent % STEP == 0
            assert start <= max(0, first - p.halo) - p.margin
            assert start + extent >= min(size, first + length + p.halo) + p.margin + p.room
            assert extent < 64 + 2 * (p.halo + p.margin) + STEP + p.room, "no window is larger than it must be"


def test_a_scene_that_fits_into_a_window_is_one_tile() -> None:
    assert [t.core for t in plan(128, 90, halo=32).tiles()] == [Area(0, 0, 128, 90)]
    assert len(plan(129, 90, halo=32).tiles()) == 2


def test_origin_counts_latent_steps_from_the_corner_of_the_lattice() -> None:
    p = plan(200, 200, halo=16)
    tile = p.tiles()[-1]
    assert p.origin(p.tiles()[0], 8) == (0, 0)
    assert p.origin(tile, 8) == ((tile.window.row + p.margin) // 8, (tile.window.column + p.margin) // 8)
    assert p.origin(tile, 8)[0] % (STEP // 8) == 0


def test_measured_area_leaves_margin_and_room_around_itself() -> None:
    p = plan(200, 130)
    for tile in p.tiles():
        measured, window = p.measured(tile), tile.window
        assert (measured.row - window.row, measured.column - window.column) == (p.margin, p.margin)
        assert measured.height + 2 * p.margin + p.room == window.height
        assert measured.width + 2 * p.margin + p.room == window.width


@pytest.mark.parametrize("side", [0, 10, 32, 100, 8224])
def test_unusable_sides_are_refused(side: int) -> None:
    with pytest.raises(InputError, match=f"tile size is {side}; accepted are multiples of 32 from 64 to 8192"):
        plan(100, 100, side)


@pytest.mark.parametrize("halo", [-16, 8, 100])
def test_unusable_halos_are_refused(halo: int) -> None:
    with pytest.raises(InputError, match=f"halo is {halo}; accepted are multiples of 16 from 0"):
        plan(100, 100, halo=halo)


def test_growing_an_area_and_back_is_the_identity() -> None:
    area = Area(3, -4, 50, 60)
    assert area.grow(16) == Area(-13, -20, 82, 92)
    assert area.grow(16).grow(-16) == area
