"""The pass as a deepinv reconstructor."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import BlurFFT, GaussianNoise

from imaging.amortised import AmortisedReconstructor
from imaging.amortised.reconstructor import consistent
from imaging.sensors import SensorPhysics, SignalDependentNoise
from tests.amortised.networks import measurement, physics, tiny


def test_shape_is_that_of_the_scene() -> None:
    model, y = AmortisedReconstructor(tiny()), measurement(50, 37)
    for factor in (1, 2):
        sensor = physics(factor=factor)
        assert model(y, sensor).shape == sensor.A_adjoint(y).shape
        assert model.fit(y, sensor, margins=False).image.shape == (1, 1, 50 * factor, 37 * factor)
        assert model.sample(y, sensor, 2).shape == (2, *sensor.A_adjoint(y).shape)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (9, 3)])
def test_tiny_measurements(height: int, width: int) -> None:
    found = AmortisedReconstructor(tiny()).fit(measurement(height, width), physics(), margins=False)
    assert found.image.shape == (1, 1, height, width)
    assert torch.isfinite(found.image).all()
    assert (found.deviation > 0).all()


@pytest.mark.parametrize("factor", [1, 2])
def test_result_goes_with_signal_and_noise(factor: int) -> None:
    """Multiplying signal and noise by one factor multiplies the posterior by it."""
    model, y = AmortisedReconstructor(tiny()), measurement()
    one = model.fit(y, physics(factor=factor), level=0.3)
    four = model.fit(4 * y, physics(factor=factor, power=4.0), level=1.2)
    torch.testing.assert_close(four.image, 4 * one.image, atol=4e-5, rtol=0)
    torch.testing.assert_close(four.deviation, 4 * one.deviation, atol=0, rtol=2e-3)
    torch.testing.assert_close(four.std(block=8), 4 * one.std(block=8), atol=0, rtol=2e-3)


def test_items_are_restored_on_their_own() -> None:
    model, y = AmortisedReconstructor(tiny()), torch.cat([measurement(seed=1), measurement(seed=2)])
    sensors = [physics(0.1, 40.0), physics(0.4, 200.0)]
    noises = [s.noise_model for s in sensors]
    noise = SignalDependentNoise(torch.cat([n.sigma0 for n in noises])[..., 0, 0], torch.cat([n.gain for n in noises])[..., 0, 0])
    both = model.fit(y, SensorPhysics(torch.cat([s.psf for s in sensors]), noise))
    for k, sensor in enumerate(sensors):
        alone = model.fit(y[k : k + 1], sensor)
        torch.testing.assert_close(both.image[k : k + 1], alone.image, atol=1e-6, rtol=0)
        torch.testing.assert_close(both.deviation[k : k + 1], alone.deviation, atol=0, rtol=1e-3)
        torch.testing.assert_close(both.field.kernels[:, k : k + 1], alone.field.kernels, atol=1e-5, rtol=0)


def test_bands_one_by_one() -> None:
    model, y = AmortisedReconstructor(tiny()), torch.cat([measurement(seed=1), measurement(seed=2)], 1)
    first, second = physics(0.1, 40.0), physics(0.4, 200.0)
    gains, sigmas = (torch.cat([getattr(p.noise_model, n).flatten() for p in (first, second)]) for n in ("gain", "sigma0"))
    sensor = SensorPhysics(torch.cat([first.psf, second.psf], 1), SignalDependentNoise(sigmas, gains))
    found = model.each_band(y, sensor, level=0.3)
    assert torch.equal(found[:, :1], model.fit(y[:, :1], first, level=0.3).image)
    assert torch.equal(found[:, 1:], model.fit(y[:, 1:], second, level=0.3).image)


@pytest.mark.parametrize("factor", [1, 2])
def test_local_means_are_those_that_were_measured(factor: int) -> None:
    """What is added to a constant error away from the edges is that error; holes take no part; nothing is added to the truth."""
    sensor = physics(factor=factor)
    x = measurement(140, 140)
    y, m = sensor.A(x), sensor.margin
    truth, valid = x[..., m:-m, m:-m], torch.ones_like(y)
    kept = consistent(truth, y, sensor, valid)
    inner = (..., slice(30, -30), slice(30, -30))
    torch.testing.assert_close(kept[inner], truth[inner], atol=1e-6, rtol=0)
    torch.testing.assert_close(consistent(truth + 0.01, y, sensor, valid)[inner], truth[inner], atol=1e-5, rtol=0)
    valid[..., 20:24, 20:24] = 0
    spoilt = torch.where(valid > 0, y, 9.0)
    torch.testing.assert_close(consistent(truth, spoilt, sensor, valid)[inner], truth[inner], atol=1e-6, rtol=0)


def test_what_a_pass_cannot_do_is_refused() -> None:
    model, y = AmortisedReconstructor(tiny()), measurement()
    blur = BlurFFT((1, 96, 96), torch.ones(1, 1, 3, 3) / 9, noise_model=GaussianNoise(0.01))
    with pytest.raises(TypeError, match=r"the physics is BlurFFT; a pass needs a SensorPhysics"):
        model(y, blur)
    with pytest.raises(ValueError, match="the measurement has 2 bands, the network 1"):
        model(torch.cat([y, y], 1), physics())
    with pytest.raises(ValueError, match="accepted are float32, bfloat16"):
        AmortisedReconstructor(tiny(), "float16")
