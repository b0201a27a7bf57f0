"""Shifts of grids that were put there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from imaging.fusion import CrossBandGaussian, FoundShift, find_drift, find_shift, search_shift
from tests.fusion.bundles import drawn, measured, mixing, sensor

WEIGHTS = torch.tensor([[0.35, 0.3, 0.25]])


def bundle(ratio: int, shift: tuple[float, float], side: int = 128, beyond: float = 1e-4) -> tuple[Tensor, Tensor, CrossBandGaussian]:
    """Both measurements of a scene whose coarse grid is shifted, and the model without the shift."""
    margin = 12 * ratio
    fine = sensor(1, 0.15, 0.005, margin=margin)
    told, true = (sensor(3, 0.3, 0.004, factor=ratio, shift=s, margin=margin) for s in ((0.0, 0.0), shift))
    covariance, means = mixing(WEIGHTS, beyond=beyond), torch.full((4,), 0.4)
    sides = (side * ratio + 2 * margin,) * 2
    model = CrossBandGaussian(fine, told, covariance, means)
    sharp, coarse = measured(CrossBandGaussian(fine, true, covariance, means), drawn(model, sides, 3), 5)
    return sharp, coarse, model


@pytest.mark.parametrize(
    ("ratio", "shift"), [(4, (0.0, 0.0)), (4, (0.3, -0.7)), (4, (-1.6, 1.9)), (2, (0.4, 0.5)), (3, (-0.25, 1.1)), (6, (2.2, -1.0))]
)
def test_shifts_are_found(ratio: int, shift: tuple[float, float]) -> None:
    sharp, coarse, model = bundle(ratio, shift)
    found = find_shift(sharp, coarse, (model.sharp, model.coarse), torch.ones_like(coarse[:, :1]))
    assert found is not None
    assert (found.right, found.down) == pytest.approx(shift, abs=0.02 if ratio < 5 else 0.03)
    for value, error, true in ((found.right, found.right_error, shift[0]), (found.down, found.down_error, shift[1])):
        assert 0 < error < 0.02
        assert abs(value - true) < 10 * error  # residuals hang together, which the error does not know
    assert found.residual < 0.03


def test_invalid_pixels_do_not_move_what_is_found() -> None:
    sharp, coarse, model = bundle(4, (0.6, -0.4))
    valid = torch.ones_like(coarse[:, :1])
    valid[..., 20:30, 20:30] = 0
    coarse[..., 23:27, 23:27] = 0.9
    found = find_shift(sharp, coarse, (model.sharp, model.coarse), valid)
    assert found is not None
    assert (found.right, found.down) == pytest.approx((0.6, -0.4), abs=0.02)


@pytest.mark.parametrize("shift", [(7.0, -6.0), (-11.0, 3.0)])
def test_a_search_goes_as_far_as_asked(shift: tuple[float, float]) -> None:
    sharp, coarse, model = bundle(4, shift)
    sensors, valid = (model.sharp, model.coarse), torch.ones_like(coarse[:, :1])
    assert search_shift(sharp, coarse, sensors, valid, 12) == shift
    near = search_shift(sharp, coarse, sensors, valid, 5)
    assert near is not None
    assert max(map(abs, near)) <= 5
    found = find_shift(sharp, coarse, sensors, valid, (shift[0] + 1, shift[1] - 1))
    assert found is not None
    assert (found.right, found.down) == pytest.approx(shift, abs=0.02)


def test_too_few_pixels_tell_nothing() -> None:
    sharp, coarse, model = bundle(4, (0.0, 0.0), side=24)
    valid = torch.zeros_like(coarse[:, :1])
    valid[..., 8:12, 8:12] = 1
    sensors = (model.sharp, model.coarse)
    assert find_shift(sharp, coarse, sensors, valid) is None
    assert search_shift(sharp, coarse, sensors, valid, 4) is None


def test_a_scene_without_structure_tells_nothing_sure() -> None:
    sharp, coarse, model = bundle(4, (0.0, 0.0))
    found = find_shift(
        torch.full_like(sharp, 0.4), torch.full_like(coarse, 0.4), (model.sharp, model.coarse), torch.ones_like(coarse[:, :1])
    )
    assert found is None or max(abs(found.right), abs(found.down)) < 6


def test_unrelated_bands_leave_much_unexplained() -> None:
    sharp, coarse, model = bundle(4, (0.0, 0.0))
    found = find_shift(sharp.flip(-1), coarse, (model.sharp, model.coarse), torch.ones_like(coarse[:, :1]))
    assert found is None or found.residual > 0.5


Placed = list[tuple[tuple[float, float], FoundShift]]


def placed(right: float, slopes: tuple[float, float], rows: int = 4, columns: int = 4, noise: float = 0.01) -> Placed:
    """Found shifts at places 512 pixels apart, to the right by a plane and 0.2 down."""
    rng, found = np.random.default_rng(2), []
    for row, column in np.ndindex(rows, columns):
        place = 512.0 * row + 256, 512.0 * column + 256
        value = right + slopes[0] * place[0] + slopes[1] * place[1]
        found.append((place, FoundShift(value + noise * rng.standard_normal(), 0.2 + noise * rng.standard_normal(), noise, noise, 0.02)))
    return found


def test_a_shift_that_is_the_same_everywhere_is_a_mean() -> None:
    drift = find_drift(placed(0.5, (0.0, 0.0)), (0.25, 0.0))
    assert drift.range == 0
    assert drift.at(0, 0) == drift.at(3000, 5000) == drift.middle
    assert drift.middle == pytest.approx((0.75, 0.2), abs=0.01)


def test_one_place_that_is_far_off_does_not_matter() -> None:
    found = placed(0.5, (0.0, 0.0))
    found[3] = (found[3][0], FoundShift(4.0, -3.0, 0.01, 0.01, 0.02))
    assert find_drift(found, (0.0, 0.0)).middle == pytest.approx((0.5, 0.2), abs=0.03)


def test_a_shift_that_varies_is_a_plane() -> None:
    drift = find_drift(placed(0.5, (2e-4, -3e-4)), (0.0, 0.0))
    for row, column in ((256, 256), (1792, 256), (256, 1792), (1024, 1024)):
        right, down = drift.at(row, column)
        assert right == pytest.approx(0.5 + 2e-4 * row - 3e-4 * column, abs=0.02)
        assert down == pytest.approx(0.2, abs=0.02)
    assert drift.range == pytest.approx(3e-4 * 1536, rel=0.1)
    assert drift.middle_place == (1024, 1024)


def test_few_places_and_small_changes_make_no_plane() -> None:
    assert find_drift(placed(0.5, (2e-4, -3e-4), rows=1), (0.0, 0.0)).range == 0
    assert find_drift(placed(0.5, (2e-5, -3e-5)), (0.0, 0.0)).range == 0
    assert find_drift(placed(0.5, (0.0, 0.0), noise=0.5), (0.0, 0.0)).range == 0
