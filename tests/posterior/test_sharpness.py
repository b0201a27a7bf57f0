"""The sharpness of a scene: what Gaussian blurs take away from waves is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from imaging.posterior import VBLE, FitSettings
from imaging.posterior.sharpness import sharpness
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.calibration import Calibration
from imaging.sensors import load_profile, sensor_physics


def wave(frequency: float) -> torch.Tensor:
    return torch.sin(2 * math.pi * frequency * torch.arange(96, dtype=torch.float64)).expand(1, 1, 96, 96)


@pytest.mark.parametrize("frequency", [0.1875, 0.25, 0.3125])
def test_waves_are_as_sharp_as_their_frequency_says(frequency: float) -> None:
    first, second = (math.exp(-2 * (math.pi * frequency * d) ** 2) for d in (0.8, 1.6))
    expected = min(4.0, ((1 - first) / (first - second)) ** 2)
    found = sharpness(wave(frequency), 8)[..., 2:-2, 2:-2]
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0.02, atol=0)


def test_neither_brightness_nor_contrast_matters() -> None:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(sharpness(0.01 * x + 5, 8), sharpness(x, 8))
    torch.testing.assert_close(sharpness(x, 8)[1:], sharpness(x[1:], 8))


def test_a_flat_scene_is_neither_sharp_nor_smooth() -> None:
    found = sharpness(torch.full((1, 1, 32, 32), 0.7), 8)
    torch.testing.assert_close(found, torch.ones(1, 1, 4, 4), rtol=0.02, atol=0)


def test_fine_detail_counts_where_it_is() -> None:
    x = torch.cat([wave(0.05)[..., :48], wave(0.45)[..., 48:]], 3)
    found = sharpness(x, 8)[0, 0]
    assert float(found[:, :4].max()) == 0.25
    assert float(found[:, 8:].min()) == 4.0


def test_deviations_follow_the_sharpness_at_high_frequencies_only() -> None:
    torch.manual_seed(0)
    prior = LappedAutoencoder(width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    prior.set_statistics(torch.rand(4, 1, 64, 64))
    profile = load_profile("pleiades-raw")
    physics = sensor_physics(profile.bands[:1], profile.full_scale, 14)
    y = physics(torch.rand(1, 1, 88, 88, generator=torch.Generator().manual_seed(1)), seed=0)
    model = VBLE(prior, FitSettings(method="vble", iterations=2))
    plain = model.fit(y, physics, border=0)
    prior.calibration = Calibration(sharpness=1.0)
    fitted = model.fit(y, physics, border=0)
    high, low = fitted.calibration[0][0, -1], fitted.calibration[0][0, 0]  # type: ignore[index]
    around = sharpness(prior.decode(plain.family.centre).detach() / plain.rate_scale, 8)[0, 0]
    torch.testing.assert_close(high, around)
    assert torch.equal(low, torch.ones_like(low))
    assert float(around.min()) > 1.5  # white noise is sharp
    wider = fitted.moments(8).std / plain.moments(8).std
    assert float(wider.min()) > 1.1
    torch.testing.assert_close(fitted.mean(8), plain.mean(8))
    assert replace(fitted, calibration=(1.0, 1.0)).moments(8).std.equal(plain.moments(8).std)
