"""What a network is told of a bundle."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from imaging.fusion import IMAGES, MAPS, CrossBandGaussian, bundle_features
from imaging.sensors import SensorPhysics, SignalDependentNoise
from tests.fusion.bundles import drawn, measured, mixing, sensor

WEIGHTS = torch.tensor([[0.4, 0.35, 0.25]])


def bundle(ratio: int = 4, side: int = 24, sharp: int = 1) -> tuple[CrossBandGaussian, Tensor, Tensor]:
    margin = 8 * ratio
    fine, low = sensor(sharp, 0.15, 0.005, margin=margin), sensor(3, 0.3, 0.004, factor=ratio, margin=margin)
    covariance, means = mixing(WEIGHTS.repeat(sharp, 1)), torch.tensor([0.4] * sharp + [0.4, 0.3, 0.5])
    model = CrossBandGaussian(fine, low, covariance, means)
    return model, *measured(model, drawn(model, (side * ratio + 2 * margin,) * 2, 3), 5)


def louder(model: CrossBandGaussian, factor: float) -> CrossBandGaussian:
    """The model of a scene whose signals and noise are multiplied."""

    def noisier(physics: SensorPhysics) -> SensorPhysics:
        own = physics.noise_model
        noise = SignalDependentNoise(factor * own.sigma0.flatten(), factor * own.gain.flatten())
        return SensorPhysics(physics.psf, noise, physics.margin, physics.factor)

    return replace(model, sharp=noisier(model.sharp), coarse=noisier(model.coarse), means=factor * model.means)


@pytest.mark.parametrize(("ratio", "sharp"), [(2, 1), (3, 1), (4, 2)])
def test_features_are_finite_and_on_the_sharp_grid(ratio: int, sharp: int) -> None:
    model, fine, low = bundle(ratio, sharp=sharp)
    found = bundle_features(model, fine, low)
    size = fine.shape[-2:]
    assert found.estimate.shape == found.unit.shape == (1, 3, *size)
    assert found.stack.shape == (1, 3, IMAGES + MAPS, *size)
    assert found.position.shape == (1, 1, *size)
    assert bool(torch.isfinite(found.stack).all())
    assert bool((found.unit > 0).all())
    assert float(found.stack.abs().amax((0, 1, 3, 4))[IMAGES:].max()) < 30
    assert not found.stack[:, :, 7].any()


def test_estimate_and_unit_are_the_gaussian_posterior() -> None:
    model, fine, low = bundle()
    found, (mean, deviation) = bundle_features(model, fine, low), model.posterior(fine, low)
    torch.testing.assert_close(found.estimate, mean[:, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.unit, deviation[:, 1:], atol=0, rtol=1e-4)


def test_features_have_no_unit() -> None:
    """Signal and noise times one factor: the stack is the same, estimate and unit are that factor times as large."""
    model, fine, low = bundle()
    one, half = bundle_features(model, fine, low), bundle_features(louder(model, 0.5), 0.5 * fine, 0.5 * low)
    torch.testing.assert_close(half.stack, one.stack, atol=5e-3, rtol=1e-3)
    torch.testing.assert_close(half.estimate, 0.5 * one.estimate, atol=2e-5, rtol=0)
    torch.testing.assert_close(half.unit, 0.5 * one.unit, atol=0, rtol=1e-3)


def test_invalid_pixels_do_not_matter_and_are_told() -> None:
    model, fine, low = bundle()
    masks = torch.ones_like(fine), torch.ones_like(low)
    masks[0][..., 30:40, 50:52], masks[1][:, 1, 10:12, 5] = 0, 0
    spoilt = [torch.where(m > 0, v, torch.tensor(7.0)) for v, m in zip((fine, low), masks, strict=True)]
    one, other = (bundle_features(model, *v, *masks) for v in ((fine, low), spoilt))
    assert torch.equal(one.stack, other.stack)
    expected = torch.zeros_like(fine[0, 0])
    expected[30:40, 50:52] = 1
    expected[40:48, 20:24] += 1
    for band in range(3):
        assert torch.equal(one.stack[0, band, 7], expected)


def test_features_are_local() -> None:
    """A pixel gets the same in another cut of the scene, up to a hundredth of the deviation, the unit of the stack."""
    model, fine, low = bundle(side=96)
    whole = bundle_features(model, fine, low)
    cut = bundle_features(model, fine[..., 32:352, 64:384], low[..., 8:88, 16:96])
    ours, theirs = (..., slice(152, 232), slice(184, 264)), (..., slice(120, 200), slice(120, 200))
    assert float((cut.stack[theirs] - whole.stack[ours]).abs().max()) < 0.01
    torch.testing.assert_close(cut.unit[theirs], whole.unit[ours], atol=0, rtol=1e-4)


def test_items_of_a_batch_have_their_own_features() -> None:
    model, fine, low = bundle()
    both = bundle_features(model, torch.cat([fine, fine.flip(-1)]), torch.cat([low, low.flip(-1)]))
    torch.testing.assert_close(both.stack[:1], bundle_features(model, fine, low).stack, atol=5e-3, rtol=1e-3)
    assert not torch.equal(both.stack[:1], both.stack[1:])
