"""What is chosen to be shown of a scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imaging.raster import Area, Scene
from imaging.report.layers import Trio, block_means, chips, limits, survey
from tests.scenes import write_scene


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Two bands of 200 x 300 pixels; one square is very uncertain, another very changed, a corner is not valid."""
    rng = np.random.default_rng(1)
    measured = rng.integers(100, 1000, (2, 200, 300)).astype(np.uint16)
    restored = measured.copy()
    restored[:, 50:100, 100:150] += 90
    std = np.full(measured.shape, 5.0, np.float32)
    std[:, 100:150, 200:250] = 50.0
    measured[:, :10, :10] = restored[:, :10, :10] = 0
    paths = [
        write_scene(tmp_path / f"{name}.tif", values, nodata=nodata)
        for name, values, nodata in (("measured", measured, 0), ("restored", restored, 0), ("std", std, float("nan")))
    ]
    with Scene(paths[0]) as a, Scene(paths[1]) as b, Scene(paths[2]) as c:
        yield Trio(a, b, c)


def test_means_of_squares_leave_out_what_is_unknown() -> None:
    array = np.random.default_rng(0).random((2, 7, 11)).astype(np.float32)
    array[0, :3, :3] = np.nan
    array[1, 6, 10] = np.nan
    found = block_means(array, 3)
    for band in range(2):
        for row in range(3):
            for column in range(4):
                square = array[band, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
                known = square[np.isfinite(square)]
                expected = known.mean() if known.size else np.nan
                np.testing.assert_allclose(found[band, row, column], expected, rtol=1e-6)


def test_the_pass_over_a_scene_counts_every_valid_pixel_once(trio: Trio) -> None:
    ranges = np.array([[100.0, 1000.0], [200.0, 800.0]])
    found = survey(trio, ranges, side=100, chip=50)
    assert found.overview.step == 3
    everything = trio.read(Area(0, 0, 200, 300))
    for name in ("measured", "restored"):
        for band in range(2):
            values = everything[name][band]
            expected = np.histogram(values[np.isfinite(values)].clip(found.edges[band][0], found.edges[band][-1]), found.edges[band])[0]
            np.testing.assert_array_equal(found.counts[name][band], expected)
    assert int(found.counts["measured"].sum()) == 2 * (200 * 300 - 100)
    assert {w % 1 for w in np.diff(found.edges).ravel()} == {0.0}  # each class holds as many whole numbers
    assert {e % 1 for e in found.edges.ravel()} == {0.5}
    np.testing.assert_allclose(found.overview.layers["std"], block_means(everything["std"], 3), rtol=1e-6)


def test_the_least_certain_and_the_most_changed_places_are_found(trio: Trio) -> None:
    found = survey(trio, np.array([[100.0, 1000.0]] * 2), side=100, chip=50)
    views = chips(trio, found, each=1)
    assert [(v.name, v.area) for v in views[:2]] == [
        ("Least certain 1", Area(100, 200, 50, 50)),
        ("Most changed 1", Area(50, 100, 50, 50)),
    ]
    assert len({v.area for v in views}) == 3
    np.testing.assert_array_equal(views[0].layers["std"], 50.0)
    np.testing.assert_array_equal(views[1].layers["restored"] - views[1].layers["measured"], 90.0)
    assert [v.area for v in chips(trio, found, each=1)] == [v.area for v in views]  # chance is the same each time


def test_limits_of_constant_and_empty_bands_are_a_range() -> None:
    values = np.stack([np.full((4, 4), 7.0), np.zeros((4, 4)), np.arange(16.0).reshape(4, 4)]).astype(np.float32)
    valid = np.ones((3, 4, 4), bool)
    valid[1] = False
    np.testing.assert_allclose(limits([(values, valid)], (0.0, 1.0)), [[7, 8], [0, 1], [0, 15]])
