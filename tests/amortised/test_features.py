"""What the network is told."""

from __future__ import annotations

import pytest
import torch

from imaging.amortised.features import CONTRASTS as FEATURES
from imaging.amortised.features import IMAGES, MAPS, filled_holes, make_features
from imaging.sensors.wiener import CONTRASTS, sensor_bank, wiener_estimate
from tests.amortised.networks import measurement, physics


@pytest.mark.parametrize("factor", [1, 2])
def test_features_have_no_unit(factor: int) -> None:
    """Signal and noise times one factor: the stack is the same, estimate and unit are that factor times as large."""
    y, level = measurement(), torch.tensor([0.3])
    one = make_features(y, physics(factor=factor), level)
    three = make_features(3 * y, physics(factor=factor, power=3.0), 3 * level)
    assert one.stack.shape == (1, 1, IMAGES + MAPS, 96 * factor, 96 * factor)
    torch.testing.assert_close(three.stack, one.stack, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(three.estimate, 3 * one.estimate, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(three.unit, 3 * one.unit, atol=1e-7, rtol=1e-5)


def test_estimate_is_the_mixed_wiener_estimate_where_its_contrasts_suffice() -> None:
    y, sensor = measurement(), physics()
    ours = make_features(y, sensor, torch.tensor([0.3]))
    inner = 4.0 ** sensor_bank(sensor, y, 0.3, FEATURES).position(y) * (1 / 64) < CONTRASTS[-1] / 4.1
    assert inner.any()
    whole = wiener_estimate(y, sensor, 0.3)[..., sensor.margin : -sensor.margin, sensor.margin : -sensor.margin]
    torch.testing.assert_close(ours.estimate[inner], whole[inner], atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [1, 2])
def test_features_are_local(factor: int) -> None:
    """A pixel far from a change, or in another cut of the scene, gets the same."""
    y, sensor, level = measurement(256, 256), physics(factor=factor), torch.tensor([0.3])
    whole = make_features(y, sensor, level)
    cut = make_features(y[..., 40:200, 64:240], sensor, level)
    ours = (..., slice(factor * 88, factor * 152), slice(factor * 112, factor * 192))
    theirs = (..., slice(factor * 48, factor * 112), slice(factor * 48, factor * 128))
    torch.testing.assert_close(cut.stack[theirs], whole.stack[ours], atol=5e-4, rtol=1e-4)
    torch.testing.assert_close(cut.unit[theirs], whole.unit[ours], atol=0, rtol=1e-5)


def test_invalid_pixels_do_not_matter() -> None:
    y, sensor, level = measurement(), physics(), torch.tensor([0.3])
    mask = torch.ones_like(y)
    mask[..., 30:50, 40:44] = 0
    spoilt = torch.where(mask > 0, y, torch.tensor(7.0))
    one, other = (make_features(v, sensor, level, mask) for v in (y, spoilt))
    assert torch.equal(one.stack, other.stack)
    assert float(one.stack[0, 0, IMAGES - 1].sum()) == 80


def test_holes_are_filled_from_the_nearest_surroundings() -> None:
    y = torch.full((1, 1, 200, 200), 0.2)
    y[..., :, 100:] = 0.6
    mask = torch.ones_like(y)
    mask[..., 50, 20] = mask[..., 120:140, 150:170] = 0
    filled = filled_holes(y * mask, mask, torch.full((1, 1, 1, 1), 0.4))
    torch.testing.assert_close(filled, y)
    empty = filled_holes(y, torch.zeros_like(y), torch.full((1, 1, 1, 1), 0.4))
    torch.testing.assert_close(empty, torch.full_like(y, 0.4))
