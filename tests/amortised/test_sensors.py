"""The sensors that a training draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from imaging.amortised.sensors import SHAPES, SensorRanges, draw_kernel, draw_physics, margin_of, measure
from imaging.errors import InputError
from imaging.releases import Table
from imaging.sensors.mtf import nyquist_of, separable_psf

PLAIN = SensorRanges(holes=0.0, saturated=0.0, level_spread=0.0)


def only(shape: str, **changes: object) -> SensorRanges:
    return replace(PLAIN, shapes=tuple(float(s == shape) for s in SHAPES), **changes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [1, 2])
def test_kernels_keep_the_mean(shape: str, factor: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        kernel = draw_kernel(only(shape), rng, factor)
        assert kernel.shape == (2 * (6 * factor + factor // 2) + 1,) * 2
        assert kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("shape", ["gaussian", "exponential"])
def test_kernels_along_the_axes_have_the_contrast_of_profiles(shape: str) -> None:
    """Without anisotropy at a given MTF: the MTF of a profile's kernel, up to 7 % where the longest tails are cut."""
    kernel = draw_kernel(only(shape, nyquist=(0.2, 0.2), anisotropy=0.0), np.random.default_rng(0))
    ours, theirs = (np.abs(np.fft.fft2(k, (64, 64))) for k in (kernel, separable_psf(shape, (0.2, 0.2))))
    np.testing.assert_allclose(ours, theirs, atol=0.08)
    assert ours[32, 0] == pytest.approx(0.2, abs=0.03)
    assert ours[0, 32] == pytest.approx(0.2, abs=0.03)


def test_contrast_is_drawn_log_uniformly() -> None:
    rng = np.random.default_rng(3)
    drawn = np.array([nyquist_of(draw_kernel(only("gaussian", nyquist=(0.05, 0.7), anisotropy=0.0), rng)) for _ in range(400)])
    assert drawn.min() > 0.04
    assert drawn.max() < 0.72
    logarithms = np.log(drawn[:, 0])
    assert logarithms.mean() == pytest.approx((math.log(0.05) + math.log(0.7)) / 2, abs=4 * math.log(14) / math.sqrt(12 * 400))


def test_noise_has_the_drawn_ratio_at_half_signal() -> None:
    physics = draw_physics(replace(PLAIN, snr=(50.0, 50.0)), np.random.default_rng(0), 30, 1, 1)
    variance = physics.noise_model.variance(torch.full((30, 1, 1, 1), 0.5))
    torch.testing.assert_close(variance, torch.full((30, 1, 1, 1), (0.5 / 50) ** 2))
    shares = 0.5 * physics.noise_model.gain.flatten() / (0.5 / 50) ** 2
    assert float(shares.min()) < 0.2
    assert float(shares.max()) > 0.8


@pytest.mark.parametrize("factor", [1, 2])
def test_measurements_are_those_of_the_drawn_sensor(factor: int) -> None:
    """The residual is white noise of the stated variance and small rounding, the truth the middle of the crop."""
    x = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.3
    m = measure(x, replace(PLAIN, snr=(20.0, 20.0)), np.random.default_rng(1), factor)
    edge = margin_of(factor)
    assert torch.equal(m.truth, x[..., edge:-edge, edge:-edge])
    assert m.y.shape[-1] * factor == m.truth.shape[-1]
    signal = m.physics.A(x)
    ratio = float(((m.y - signal).square() / m.physics.noise_model.variance(signal)).mean())
    assert ratio == pytest.approx(1, abs=5 * (2 / m.y.numel()) ** 0.5 + 0.12)  # rounding: at most a twelfth of 1.2 deviations squared
    again = measure(x, replace(PLAIN, snr=(20.0, 20.0)), np.random.default_rng(1), factor)
    assert torch.equal(m.y, again.y)


def test_holes_and_highlights() -> None:
    x = torch.rand(40, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    m = measure(x, replace(PLAIN, holes=1.0, saturated=1.0), np.random.default_rng(1), 1)
    lost = 1 - m.mask.mean((1, 2, 3))
    assert (lost > 0).all()
    assert bool((m.y[m.mask == 0] == 0).all())
    assert set(m.mask.unique().tolist()) == {0.0, 1.0}


def test_unknown_or_impossible_ranges_are_refused() -> None:
    def made(**values: object) -> SensorRanges:
        return Table({"sensors": values}).under("sensors").make(SensorRanges)

    assert made(nyquist=[0.1, 0.2]).nyquist == (0.1, 0.2)
    with pytest.raises(InputError, match=r"unknown key 'nyqist' in \[sensors\]; did you mean nyquist"):
        made(nyqist=[0.1, 0.2])
    for name, value in (("snr", [5.0, 1.0]), ("shapes", [1.0]), ("double", 1.5)):
        with pytest.raises(InputError, match=f"{name} is .*; it must be"):
            made(**{name: value})
