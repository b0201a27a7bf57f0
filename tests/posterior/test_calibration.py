"""One factor on the variance of the latents, and what a sample is: decoded latents plus the image-space part, nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imaging.draws import antithetic, normal, position_key
from imaging.errors import InputError
from imaging.posterior import VBLE, FitSettings, LatentPosterior
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.calibration import read_guarantee, read_latent_variance
from imaging.releases import Table
from imaging.sensors import load_profile, sensor_physics


@pytest.fixture(scope="module")
def fitted() -> tuple[LatentPosterior, LatentPosterior]:
    """Without the factor, and with one of a quarter."""
    torch.manual_seed(0)
    prior = LappedAutoencoder(width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    prior.set_statistics(torch.rand(4, 1, 64, 64))
    prior.latent_variance = 0.25
    profile = load_profile("pleiades-raw")
    physics = sensor_physics(profile.bands[:1], profile.full_scale, 14)
    y = physics(torch.full((1, 1, 60, 60), 0.3), seed=0)
    plain, scaled = (VBLE(prior, FitSettings(iterations=2, calibrated=c)).fit(y, physics, border=0) for c in (False, True))
    return plain, scaled


def test_the_factor_scales_the_variance_of_the_latents_alone(fitted) -> None:
    plain, scaled = fitted
    assert torch.equal(scaled.family.centre, plain.family.centre)
    torch.testing.assert_close(scaled.family.variance(), 0.25 * plain.family.variance())
    latent = [replace(p, information=None).moments(8).std.square() for p in fitted]
    torch.testing.assert_close(latent[1], 0.25 * latent[0], rtol=0.05, atol=0)  # the decoder is not quite linear
    image = [p.moments(8).std.square() - v for p, v in zip(fitted, latent, strict=True)]
    torch.testing.assert_close(image[1], image[0], rtol=0.05, atol=1e-9)  # nor is its deviation the same for all latents


@pytest.mark.parametrize("k", [0, 1])
def test_a_sample_is_a_decoding_plus_the_image_space_part(fitted, k: int) -> None:
    for posterior in fitted:
        prior, frame = posterior.prior, posterior.frame
        z = posterior.family.centre
        drawn = posterior.family.draw(antithetic(position_key(z.shape, [(0, 0)], 0, "z", z.device), 2_000_000 + 2 * k, z.dtype))
        decoded = frame.crop(prior.decode(drawn)) / posterior.rate_scale
        assert torch.equal(replace(posterior, information=None).sample(1, first=k)[0], decoded)
        deviation = frame.crop(prior.decode_std(drawn)) / posterior.rate_scale
        factor = posterior.image_factor(deviation.square())
        noise = normal(position_key(decoded.shape, [(frame.top, frame.left)], 0, "x", z.device), k)
        torch.testing.assert_close(posterior.sample(1, first=k)[0], decoded + factor * deviation * noise)


def test_samples_have_the_variance_of_the_moments(fitted) -> None:
    for posterior in fitted:
        variance, expected = posterior.sample(200).var(0), posterior.moments(64).std.square()
        # Relative standard error of a variance from 200 draws is 10 %, averaged over 1600 pixels that are correlated in blocks of 64.
        inner = (..., slice(14, 54), slice(14, 54))
        assert float(variance[inner].mean() / expected[inner].mean()) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("value", [-0.1, 101, "x", True])
def test_bad_factors_are_refused(value) -> None:
    with pytest.raises(InputError, match="calibration"):
        read_latent_variance(Table({"calibration": {"latent_variance": value}}))
    with pytest.raises(InputError, match="conformal"):
        read_guarantee(Table({"conformal": {"scenes": 20, "level_90": "x" if value == 101 else value}}))
    assert read_latent_variance(Table({})) == 1.0
    assert read_latent_variance(Table({"calibration": {"latent_variance": 0.8}})) == 0.8
    assert read_guarantee(Table({})) is None
    found = read_guarantee(Table({"conformal": {"scenes": 20, "level_90": 1.9, "level_99_5": 4}}))
    assert found == (20, {0.9: 1.9, 0.995: 4.0})


def test_factors_of_former_versions_are_refused() -> None:
    with pytest.raises(InputError, match="'image_variance', 'latent_variance_high'; accepted is latent_variance, one factor"):
        read_latent_variance(Table({"calibration": {"latent_variance": 0.9, "latent_variance_high": 0.7, "image_variance": 0.1}}))
