"""The first estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from imaging.posterior import wiener_estimate
from imaging.sensors import Band, Mtf, Noise, SensorPhysics, SignalDependentNoise, load_profile, sensor_physics
from imaging.sensors.wiener import WienerBank, local_contrast, scene_spectrum


def field(size: int, seed: int, level: float = 0.4) -> Tensor:
    """A random scene with the spectrum that the filter takes for granted."""
    f = torch.hypot(torch.fft.fftfreq(size, dtype=torch.float64)[:, None], torch.fft.fftfreq(size, dtype=torch.float64)[None])
    white = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spectrum = scene_spectrum(f, torch.tensor(level, dtype=torch.float64))
    spectrum[0, 0] = 0
    return (level + torch.fft.ifft2(torch.fft.fft2(white) * spectrum.sqrt()).real)[None, None].float()


@pytest.mark.parametrize("variance", [1e-6, 1e-4, 1e-2])
def test_filter_has_unit_gain_at_zero_frequency(variance: float) -> None:
    psf = sensor_physics(load_profile("pleiades").bands, 4095.0).psf
    kernel = WienerBank(psf, torch.full((2, 5), variance), torch.tensor([0.1, 0.5])).kernel(1.0)
    assert kernel.shape == (2, 5, 25, 25)
    assert torch.allclose(kernel.sum((-2, -1)), torch.ones(2, 5), atol=1e-5)
    physics = sensor_physics(load_profile("pleiades").bands, 4095.0)
    constant = wiener_estimate(torch.full((1, 5, 20, 20), 0.3), physics, 0.3)
    assert constant.shape == (1, 5, 20 + 2 * physics.margin, 20 + 2 * physics.margin)
    assert torch.allclose(constant, torch.full_like(constant, 0.3), atol=1e-5)


def test_filter_inverts_the_blur_where_there_is_no_noise() -> None:
    psf = sensor_physics(load_profile("worldview3").bands[1:2], 2047.0).psf
    kernel = WienerBank(psf, torch.full((1, 1), 1e-12), torch.tensor([0.4])).kernel(1.0)
    product = torch.fft.fft2(psf[0, 0], (128, 128)).abs() * torch.fft.fft2(kernel[0, 0], (128, 128)).abs()
    assert torch.allclose(product[:40, :40], torch.ones(40, 40), atol=0.02)  # up to 0.3 cycles per pixel


@pytest.mark.parametrize("name", ["pleiades-raw", "worldview3", "sentinel2"])
def test_estimate_is_nearer_to_the_scene_than_the_measurement(name: str) -> None:
    profile = load_profile(name)
    physics = sensor_physics(profile.bands[:1], profile.full_scale)
    errors = []
    for seed in range(3):
        x = field(160, seed)
        y = physics(x, seed=seed)
        m = physics.margin
        estimate = wiener_estimate(y, physics, 0.4)
        assert estimate.shape == x.shape
        inner = (..., slice(16 + m, -16 - m), slice(16 + m, -16 - m))
        errors.append([float((estimate - x)[inner].square().mean()), float((y - x[..., m:-m, m:-m])[..., 16:-16, 16:-16].square().mean())])
    estimate_error, measurement_error = np.mean(errors, 0)
    assert estimate_error < 0.75 * measurement_error


def test_asymmetric_blur_is_not_applied_twice() -> None:
    """A kernel that shifts by one pixel is undone, not doubled."""
    psf = torch.zeros(1, 1, 3, 3)
    psf[0, 0, 1, 2] = 1
    physics = SensorPhysics(psf, SignalDependentNoise(torch.tensor([1e-4]), torch.tensor([0.0])), 2)
    x = field(64, 1)
    estimate = wiener_estimate(physics.A(x), physics, 0.4)
    assert (estimate - x)[..., 20:-20, 20:-20].abs().max() < 0.02 * (x.max() - x.min())


def test_items_are_estimated_on_their_own() -> None:
    noise = SignalDependentNoise(torch.tensor([[0.01], [0.05]]), torch.zeros(2, 1))
    psf = sensor_physics((Band("P", 1.0, Mtf("gaussian", (0.1, 0.1)), Noise(1.0, 0.0)),), 1.0).psf
    y = torch.cat([field(48, 1), field(48, 2)])
    both = wiener_estimate(y, SensorPhysics(psf, noise), torch.tensor([0.2, 0.5]))
    for k, (sigma, level) in enumerate(((0.01, 0.2), (0.05, 0.5))):
        alone = SensorPhysics(psf, SignalDependentNoise(torch.tensor([sigma]), torch.tensor([0.0])))
        assert torch.allclose(both[k : k + 1], wiener_estimate(y[k : k + 1], alone, level), atol=1e-6)


def test_local_contrast_is_that_of_the_scene() -> None:
    """Scenes with the typical spectrum times a factor, blurred and noisy, are found to have that factor; noise alone has none."""
    physics = sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0)
    level = torch.tensor([0.4])
    for factor in (0.25, 1.0, 4.0):
        x = 0.4 + (field(256, 5) - 0.4) * factor**0.5
        y = physics(x, seed=3)
        variance = physics.noise_model.variance(level.reshape(1, 1, 1, 1))[..., 0, 0]
        found = local_contrast(y, physics.psf, variance, level)
        assert found.shape == y.shape
        assert float(found.log().mean().exp()) == pytest.approx(factor, rel=0.25)
    flat = physics(torch.full((1, 1, 256, 256), 0.4), seed=3)
    assert float(local_contrast(flat, physics.psf, variance, level).median()) < 0.05


def test_flat_and_rich_parts_of_a_scene_are_filtered_differently() -> None:
    """Noise is taken out of the flat half, detail stays in the other; each half as if it were alone, away from the seam."""
    physics = sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0)
    rich, flat = 0.4 + 2 * (field(128, 7) - 0.4), torch.full((1, 1, 128, 128), 0.4)
    y = physics(torch.cat([rich, flat], 3), seed=5)
    estimate = wiener_estimate(y, physics, 0.4)
    m = physics.margin
    left, right = estimate[..., 40:-40, 40 : 88 - m], estimate[..., 40:-40, 170:-40]
    noise = float(physics.noise_model.variance(torch.full((1, 1, 1, 1), 0.4)).sqrt())
    assert float(right.std()) < 0.5 * noise
    assert float((left - rich[..., 40:-40, 40 : 88 - m]).square().mean()) < 0.5 * float(
        (y[..., 40 - m : -40 + m, 40 - m : 88 - 2 * m] - rich[..., 40:-40, 40 : 88 - m]).square().mean()
    )
    alone = wiener_estimate(y[..., :160], physics, 0.4)
    assert torch.allclose(alone[..., 40:-40, 40:100], estimate[..., 40:-40, 40:100], atol=1e-6)
