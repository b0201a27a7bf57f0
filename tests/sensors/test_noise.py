"""Signal-dependent noise: its variance law, and its estimation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from imaging.errors import InputError
from imaging.sensors import Noise, SignalDependentNoise, estimate_noise, load_profile, sensor_physics


def test_variance_of_many_draws_follows_the_law_of_each_band() -> None:
    sigma0, gain = torch.tensor([0.02, 0.005]), torch.tensor([0.001, 0.02])
    model = SignalDependentNoise(sigma0, gain)
    x = torch.tensor([0.0, 0.25, 1.0]).expand(1, 2, 200_000, 3)
    measured = (model(x, seed=3) - x).var(2)[0]
    expected = sigma0[:, None] ** 2 + gain[:, None] * torch.tensor([0.0, 0.25, 1.0])
    # The relative error of a variance from n Gaussian draws is sqrt(2 / n) = 0.0032; five of them.
    assert torch.allclose(measured, expected, rtol=0.016, atol=0)


def test_noise_has_zero_mean_and_negative_signal_counts_as_none() -> None:
    model = SignalDependentNoise(torch.tensor([0.1]), torch.tensor([1.0]))
    x = torch.full((1, 1, 300, 300), -0.5)
    noise = model(x, seed=0) - x
    assert float(noise.mean()) == pytest.approx(0, abs=5 * 0.1 / 300)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.012)


def test_parameters_may_differ_between_items() -> None:
    model = SignalDependentNoise(torch.tensor([[0.1], [0.4]]), torch.zeros(2, 1))
    assert model.variance(torch.ones(2, 1, 1, 1)).flatten().tolist() == pytest.approx([0.01, 0.16])


def test_seeded_measurements_repeat_and_others_do_not() -> None:
    physics = sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0)
    x = torch.full((1, 1, 40, 40), 0.3)
    first, again, other = physics(x, seed=5), physics(x, seed=5), physics(x, seed=6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(physics(x), physics(x))
    generated = SignalDependentNoise(torch.tensor([0.1]), torch.tensor([0.0]), rng=torch.Generator().manual_seed(9))
    assert torch.equal(generated(x, seed=5), generated(x, seed=5))


def test_negative_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="not be negative"):
        SignalDependentNoise(torch.tensor([-0.1]), torch.tensor([0.0]))


def scene(size: int, seed: int) -> NDArray[np.float64]:
    """A brightness ramp from 300 to 2500 DN, three tenths of it covered with strong texture."""
    rows, columns = np.mgrid[:size, :size] / size
    texture = gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), 1.2)
    return 300 + 2200 * columns + 100 * np.sin(6 * rows) ** 2 + np.where((rows > 0.5) & (rows < 0.8), 120 * texture / texture.std(), 0)


def estimated(image: NDArray[np.float64], valid: NDArray[np.bool_] | None = None, offset: float = 0.0) -> Noise:
    good = np.isfinite(image) if valid is None else valid & np.isfinite(image)
    return estimate_noise([(image[None], good[None])], 0, offset).model()


@pytest.mark.parametrize(("sigma0", "gain"), [(5.0, 0.08), (10.0, 0.0), (0.0, 0.2), (20.0, 0.5)])
def test_estimate_recovers_the_simulated_noise(sigma0: float, gain: float) -> None:
    x = scene(512, 1)
    y = x + np.random.default_rng(2).standard_normal(x.shape) * np.sqrt(sigma0**2 + gain * x.clip(0))
    found = estimated(y)
    for level in (400, 1200, 2400):
        assert np.sqrt(found.variance(level)) == pytest.approx(np.sqrt(sigma0**2 + gain * level), rel=0.06)


def test_estimate_ignores_invalid_pixels_and_constant_areas() -> None:
    x = scene(512, 1)
    y = x + np.random.default_rng(2).standard_normal(x.shape) * np.sqrt(25 + 0.08 * x)
    valid = np.ones(y.shape, dtype=bool)
    valid[:64] = False
    y[:64] = np.random.default_rng(3).uniform(0, 1e6, (64, 512))
    y[64:128, 100:164] = np.nan
    y[-60:, 300:420] = 4095.0  # saturated: no noise to see, also in blocks that it fills partly
    found = estimated(y, valid)
    for level in (400, 1200, 2400):
        assert np.sqrt(found.variance(level)) == pytest.approx(np.sqrt(25 + 0.08 * level), rel=0.06)


def test_estimate_scales_with_the_unit_of_the_image() -> None:
    x = scene(256, 1)
    y = x + np.random.default_rng(2).standard_normal(x.shape) * np.sqrt(25 + 0.08 * x)
    one, other = estimated(y), estimated(y / 4095)
    assert (other.sigma0, other.gain) == pytest.approx((one.sigma0 / 4095, one.gain / 4095), rel=1e-3)  # rounded to four digits


@pytest.mark.parametrize("shape", [(1, 1), (40, 40)])
def test_too_small_a_scene_asks_for_the_noise(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="give --noise SIGMA0,GAIN"):
        estimated(np.random.default_rng(0).random(shape))


def test_variance_counts_from_the_offset() -> None:
    np.testing.assert_allclose(Noise(5.0, 0.1, 1000.0).variance([900.0, 1000.0, 3000.0]), [25.0, 25.0, 225.0])
