"""Bands and priors: fitted together or one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imaging.errors import InputError
from imaging.posterior import FitSettings, lattice_room
from imaging.priors import load_prior
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.base import LatentPrior
from imaging.raster import TilePlan
from imaging.restoration.fitting import Fitter, make_fitters, scene_bands, window_margin
from imaging.restoration.methods import PosteriorMethod
from imaging.sensors import Band, Mtf, Noise, load_profile
from tests.scenes import smooth

Sample = list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def sampled(bands: int) -> Sample:
    pixels = smooth(bands, 96, 96).astype(np.float32)
    return [(pixels, np.ones(pixels.shape, bool))]


def bands(count: int) -> tuple[Band, ...]:
    return tuple(Band(f"B{i}", 1.0, Mtf("gaussian", (0.2, 0.2)), Noise(6.0, 0.05)) for i in range(count))


def window(prior: LatentPrior, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Measured values and validity of the one window of a 40 x 40 scene, and its margin."""
    plan = TilePlan(40, 40, 64, window_margin(bands(count), prior.border), lattice_room(prior), 0)
    area = plan.measured(plan.tiles()[0])
    values = smooth(count, area.height, area.width)[None]
    return values, np.ones(values.shape, bool), plan.margin


def fitters_of(chosen: tuple[Band, ...], sample: Sample, prior: LatentPrior, settings: FitSettings) -> list[Fitter]:
    """Of a posterior, 12-bit values, seed 0."""
    return make_fitters(chosen, 4095.0, sample, PosteriorMethod(prior, settings), 0)


@pytest.fixture(scope="module")
def joint_prior() -> LatentPrior:
    """Of two channels."""
    torch.manual_seed(0)
    model = LappedAutoencoder(channels=2, width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    model.set_statistics(torch.from_numpy(smooth(2, 128, 128)[None] / 4095).float())
    return model.eval()


def test_a_prior_of_one_channel_fits_bands_one_by_one(tiny_prior: Path) -> None:
    fitters = fitters_of(bands(3), sampled(3), load_prior(str(tiny_prior)), FitSettings())
    assert [f.indices for f in fitters] == [[0], [1], [2]]
    assert len({f.seed for f in fitters}) == 3


def test_a_prior_of_as_many_channels_fits_them_together(joint_prior: LatentPrior) -> None:
    fitters = fitters_of(bands(2), sampled(2), joint_prior, FitSettings(iterations=1))
    assert [f.indices for f in fitters] == [[0, 1]]
    values, valid, margin = window(joint_prior, 2)
    found = fitters[0](values, valid, [(0, 0)], 0, None)
    inner = (0, slice(None), slice(margin, margin + 32), slice(margin, margin + 32))
    assert np.corrcoef(found["restored"][inner].ravel(), values[0, :, :32, :32].ravel())[0, 1] > 0.8


def test_bands_meet_a_joint_prior_in_its_own_order(joint_prior: LatentPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_prior, "bands", ("red", "nir"))
    noise = (Noise(6.0, 0.05), Noise(9.0, 0.02, 30.0))
    red, nir = (Band(n, 1.0, Mtf("gaussian", (m, m)), e, common_name=n) for n, m, e in zip(("red", "nir"), (0.2, 0.3), noise, strict=True))
    values, valid, _ = window(joint_prior, 2)
    sample = sampled(2)
    flipped = [(v[::-1].copy(), m[::-1].copy()) for v, m in sample]
    settings = FitSettings(iterations=2, samples=2)
    (straight,) = fitters_of((red, nir), sample, joint_prior, settings)
    (turned,) = fitters_of((nir, red), flipped, joint_prior, settings)
    assert (straight.order, turned.order) == ([0, 1], [1, 0])
    first = straight(values, valid, [(0, 0)], 1, None)
    second = turned(values[:, ::-1], valid[:, ::-1], [(0, 0)], 1, None)
    assert set(first) == {"restored", "std", "sample_000"}
    for name, array in first.items():
        np.testing.assert_allclose(second[name][:, ::-1], array, rtol=1e-6)
    unnamed = fitters_of(bands(2), sample, joint_prior, settings)[0]
    assert unnamed.order == [0, 1]


def test_a_prior_of_another_number_of_channels_is_refused(joint_prior: LatentPrior) -> None:
    with pytest.raises(InputError, match="the prior has 2 channels, the scene 3 bands; choose with --bands or another --prior"):
        fitters_of(bands(3), sampled(3), joint_prior, FitSettings())


def test_rate_scale_and_level_follow_the_scene(tiny_prior: Path) -> None:
    prior, sample = load_prior(str(tiny_prior)), sampled(1)
    quiet, loud = (
        fitters_of((Band("B", 1.0, Mtf("gaussian", (0.2, 0.2)), Noise(s, 0.0)),), sample, prior, FitSettings())[0] for s in (20.0, 40.0)
    )
    assert quiet.level == pytest.approx(float(sample[0][0].mean()) / 4095, rel=1e-5)
    # The rate follows the error that each measurement leaves, which grows more slowly than the noise.
    assert 1.2 * loud.rate_scale < quiet.rate_scale < 2 * loud.rate_scale
    fixed = fitters_of(bands(1), sample, prior, FitSettings(rate_scale=0.31))[0]
    assert fixed.rate_scale == 0.31


def test_noise_comes_from_the_profile_or_from_the_scene() -> None:
    rng = np.random.default_rng(0)
    level = np.linspace(500, 3000, 256)[None, None] * np.ones((1, 256, 1))
    noisy = (level + rng.standard_normal(level.shape) * np.sqrt(25 + 0.1 * level)).astype(np.float32)
    sample = [(noisy, np.ones(noisy.shape, bool))]
    profile = load_profile("pleiades-raw")
    (kept,) = scene_bands(profile, (None,), sample, "profile")
    assert kept.noise == profile.bands[0].noise
    (found,) = scene_bands(profile, (None,), sample, "estimate")
    assert found.noise is not None
    assert found.noise.sigma0**2 + found.noise.gain * 1750 == pytest.approx(25 + 0.1 * 1750, rel=0.3)


def test_noise_estimated_from_a_scene_counts_from_the_sensors_offset() -> None:
    """Sentinel-2 stores zero signal as 1000: the variance goes with what is above it."""
    rng = np.random.default_rng(3)
    level = np.linspace(200, 3000, 384)[None, None] * np.ones((1, 384, 1))
    noisy = (1000 + level + rng.standard_normal(level.shape) * np.sqrt(25 + 0.1 * level)).astype(np.float32)
    (band,) = bands(1)
    profile = replace(load_profile("generic"), bands=(replace(band, noise=Noise(6.0, 0.05, 1000.0)),))
    (found,) = scene_bands(profile, (None,), [(noisy, np.ones(noisy.shape, bool))], "estimate")
    assert found.noise is not None
    assert found.noise.offset == 1000.0
    for signal in (400.0, 1500.0, 2800.0):
        assert np.sqrt(found.noise.variance(1000 + signal)) == pytest.approx(np.sqrt(25 + 0.1 * signal), rel=0.08)


def test_a_scene_without_noise_is_refused() -> None:
    flat = np.full((1, 96, 96), 100.0, np.float32)
    with pytest.raises(InputError, match="--noise SIGMA0,GAIN"):
        scene_bands(load_profile("generic"), (None,), [(flat, np.ones(flat.shape, bool))], "profile")


def test_what_a_masked_pixel_holds_does_not_reach_the_result(tiny_prior: Path) -> None:
    """Masked values are replaced before the first estimate sees them."""
    prior = load_prior(str(tiny_prior))
    fitter = fitters_of(bands(1), sampled(1), prior, FitSettings(iterations=1))[0]
    values, valid, _ = window(prior, 1)
    valid[..., 10:, 10:] = False
    first, second = (fitter(np.where(valid, values, v), valid, [(0, 0)], 0, None)["restored"] for v in (0.0, 1e6))
    np.testing.assert_array_equal(first, second)
