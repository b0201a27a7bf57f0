"""Calibration factors scale the two parts of the variance, in moments and in samples alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imaging.errors import InputError
from imaging.posterior import VBLE, FitSettings
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.calibration import Calibration, read_calibration, read_guarantee
from imaging.releases import Table
from imaging.sensors import load_profile, sensor_physics


@pytest.fixture(scope="module")
def posterior() -> object:
    torch.manual_seed(0)
    prior = LappedAutoencoder(width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    prior.set_statistics(torch.rand(4, 1, 64, 64))
    profile = load_profile("pleiades-raw")
    physics = sensor_physics(profile.bands[:1], profile.full_scale, 14)
    y = physics(torch.full((1, 1, 60, 60), 0.3), seed=0)
    return VBLE(prior, FitSettings(iterations=2)).fit(y, physics, border=0)


def test_moments_scale_part_by_part(posterior) -> None:
    latent, image, both = (replace(posterior, calibration=c).moments(8).std.square() for c in ((1.0, 0.0), (0.0, 1.0), (0.25, 3.0)))
    # The decoder is not quite linear, nor is its deviation the same for all latents.
    torch.testing.assert_close(both, 0.25 * latent + 3.0 * image, rtol=0.05, atol=0)
    assert bool((latent > 0).all())
    assert bool((image > 0).all())


def test_the_calibration_changes_no_mean(posterior) -> None:
    means = [replace(posterior, calibration=c).mean(8) for c in ((1.0, 1.0), (0.3, 0.1), (2.0, 0.0))]
    for other in means[1:]:
        torch.testing.assert_close(other, means[0], rtol=0, atol=1e-6)


def test_samples_have_the_calibrated_variance(posterior) -> None:
    calibrated = replace(posterior, calibration=(0.5, 0.2))
    variance = calibrated.sample(200).var(0)
    expected = calibrated.moments(64).std.square()
    # Relative standard error of a variance from 200 draws is 10 %, averaged over 1600 pixels that are correlated in blocks of 64.
    inner = (..., slice(14, 54), slice(14, 54))
    assert float(variance[inner].mean() / expected[inner].mean()) == pytest.approx(1, abs=0.06)


def test_latent_factor_follows_the_rate_scale() -> None:
    scale = torch.tensor([1.0, 0.25]).reshape(2, 1, 1, 1)
    latent, image = Calibration(0.8, 0.8, 0.1, 0.5).factors(scale)
    assert torch.allclose(latent.flatten(), torch.tensor([0.8, 0.4]))
    assert torch.allclose(image.flatten(), torch.tensor([0.1, 0.1]))


def test_latent_factor_goes_from_frequency_zero_to_nyquist() -> None:
    latent, _ = Calibration(0.9, 0.4).factors(torch.ones(2, 1, 1, 1), torch.tensor([0.0, 0.25, 1.0, 1.5]))
    assert latent.shape == (2, 4, 1, 1)
    assert torch.allclose(latent[1].flatten(), torch.tensor([0.9, 0.6, 0.4, 0.4]))
    latent, _ = Calibration(0.9, 0.4).factors(torch.ones(1, 1, 1, 1))
    assert torch.allclose(latent.flatten(), torch.tensor([0.6]))


def test_each_item_of_a_fit_is_calibrated_at_its_own_rate(posterior) -> None:
    prior = replace(posterior).prior
    profile = load_profile("pleiades-raw")
    physics = sensor_physics(profile.bands[:1], profile.full_scale, 14)
    y = physics(torch.full((2, 1, 60, 60), 0.3), seed=0)
    scales = torch.tensor([1.0, 0.25])
    plain = VBLE(prior, FitSettings(method="vble", iterations=2)).fit(y, physics, border=0, rate_scale=scales)
    prior.calibration = Calibration(0.8, 0.8, 1.0, 0.5)
    try:
        fitted = VBLE(prior, FitSettings(method="vble", iterations=2)).fit(y, physics, border=0, rate_scale=scales)
    finally:
        prior.calibration = Calibration()
    ratio = (fitted.moments(4).std / plain.moments(4).std).square()
    assert torch.allclose(ratio.mean((1, 2, 3)), torch.tensor([0.8, 0.4]), rtol=0.02)


@pytest.mark.parametrize("value", [-0.1, 100, "x", True])
def test_bad_factors_are_refused(value) -> None:
    with pytest.raises(InputError, match="calibration"):
        read_calibration(Table({"calibration": {"latent_variance": value}}))
    with pytest.raises(InputError, match="conformal"):
        read_guarantee(Table({"conformal": {"scenes": 20, "level_90": "x" if value == 100 else value}}))
    assert read_calibration(Table({})) == (1.0, 1.0, 1.0, 0.0, 0.0)
    assert read_calibration(Table({"calibration": {"latent_variance": 0.8}})) == (0.8, 0.8, 1.0, 0.0, 0.0)
    assert read_guarantee(Table({})) is None
    found = read_guarantee(Table({"conformal": {"scenes": 20, "level_90": 1.9, "level_99_5": 4}}))
    assert found == (20, {0.9: 1.9, 0.995: 4.0})
