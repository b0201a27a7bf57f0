"""The forward operator onto a coarser grid: adjointness, sharpness, and where its pixels lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imaging.posterior import sensor_deviation, wiener_estimate
from imaging.sensors import Band, Mtf, Noise, SensorPhysics, SignalDependentNoise, sensor_physics
from imaging.sensors.mtf import line_spread, mtf_curve
from imaging.sensors.wiener import sensor_error

QUIET = Noise(0.01, 0.0)


def band(nyquist: float = 0.15, shape: str = "gaussian", noise: Noise = QUIET) -> tuple[Band, ...]:
    return (Band("PAN", 0.7, Mtf(shape, (nyquist, nyquist)), noise),)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", ["gaussian", "exponential"])
def test_line_spread_has_the_curve_about_the_middle_of_a_measured_pixel(shape: str, scale: int) -> None:
    kernel = line_spread(shape, 0.2, scale)
    n = np.arange(len(kernel)) - len(kernel) // 2 + (scale - 1) / 2
    frequency = np.linspace(0, 0.5, 21) / scale  # up to the measurement's Nyquist frequency
    transfer = (kernel * np.exp(-2j * np.pi * frequency[:, None] * n)).sum(1)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert transfer[-1].real == pytest.approx(0.2, abs=1e-12)
    expected = mtf_curve(shape, 0.2, scale * frequency)
    np.testing.assert_allclose(transfer, expected, atol=0.02 if shape == "gaussian" else 0.06)


@pytest.mark.parametrize("factor", [2, 3])
def test_adjoint(factor: int) -> None:
    generator = torch.Generator().manual_seed(0)
    psf = torch.rand(1, 2, 5, 5, generator=generator, dtype=torch.float64)
    physics = SensorPhysics(psf / psf.sum((2, 3), keepdim=True), SignalDependentNoise(torch.ones(2), torch.zeros(2)), 6, factor)
    x = torch.rand(2, 2, factor * 7 + 12, factor * 9 + 12, generator=generator, dtype=torch.float64)
    y = torch.rand(2, 2, 7, 9, generator=generator, dtype=torch.float64)
    seen = physics.A(x)
    assert seen.shape == y.shape
    back = physics.A_adjoint(y)
    assert back.shape == x.shape
    assert float((seen * y).sum()) == pytest.approx(float((x * back).sum()), rel=1e-12)
    # The diagonal of A^T W A, by unit vectors.
    for row, column in ((8, 9), (9, 9), (10, 8), (11, 11)):
        unit = torch.zeros_like(x)
        unit[..., row, column] = 1
        expected = (physics.A(unit).square() * y).sum((2, 3))
        torch.testing.assert_close(physics.information(y)[..., row, column], expected)


def spot(size: int, row: float, column: float, width: float) -> torch.Tensor:
    r, c = np.mgrid[:size, :size]
    return torch.from_numpy(np.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * width**2)))[None, None]


def centroid(x: torch.Tensor) -> tuple[float, float]:
    r, c = np.mgrid[: x.shape[-2], : x.shape[-1]]
    values = x[0, 0].numpy()
    return float((values * r).sum() / values.sum()), float((values * c).sum() / values.sum())


@pytest.mark.parametrize("place", [(52.0, 47.0), (50.3, 49.6), (51.5, 48.5)])
def test_a_spot_is_measured_where_it_is_and_estimated_back_there(place: tuple[float, float]) -> None:
    physics = sensor_physics(band(), 1.0, 20, 2)
    x = spot(104, *place, 3.0)
    y = physics.A(x)
    # A measured pixel covers two of the scene's: its centre i lies at 2 i + 1/2, counted without the margin.
    np.testing.assert_allclose(centroid(y), [(p - 20 - 0.5) / 2 for p in place], atol=0.005)
    found = wiener_estimate(y.float() + 0.1, physics, 0.15) - 0.1
    assert found.shape == x.shape
    np.testing.assert_allclose(centroid(found.double().clamp(min=0.05) - 0.05), place, atol=0.02)


def test_a_constant_scene_stays_one() -> None:
    physics = sensor_physics(band(), 1.0, None, 2)
    flat = torch.full((1, 1, 2 * 20 + 2 * physics.margin, 2 * 24 + 2 * physics.margin), 0.3)
    y = physics.A(flat)
    torch.testing.assert_close(y, torch.full((1, 1, 20, 24), 0.3))
    torch.testing.assert_close(wiener_estimate(y, physics, 0.3), flat, rtol=1e-4, atol=0)


def test_the_first_estimate_resolves_more_than_pixels_repeated() -> None:
    generator = torch.Generator().manual_seed(3)
    physics = sensor_physics(band(0.3), 1.0, 20, 2)
    frequency = np.hypot(np.fft.fftfreq(168)[:, None], np.fft.fftfreq(168)[None])
    amplitude = np.sqrt(2e-5 / np.maximum(frequency, 1 / 168) ** 3)
    noise = torch.randn(168, 168, generator=generator, dtype=torch.float64)
    x = (torch.fft.ifft2(torch.fft.fft2(noise) * torch.from_numpy(amplitude)).real + 0.4)[None, None].float()
    y = physics(x, seed=0)
    found, inner = wiener_estimate(y, physics, 0.4), (..., slice(30, -30), slice(30, -30))
    repeated = torch.nn.functional.pad(y.repeat_interleave(2, 2).repeat_interleave(2, 3), (20,) * 4)
    error, plain = (float((e - x)[inner].square().mean()) for e in (found, repeated))
    assert error < 0.75 * plain
    # What the filter is expected to leave in a scene of the typical spectrum.
    expected = float(sensor_error(physics.psf, torch.full((1, 1), 1e-4), torch.tensor([0.4]), 2))
    assert error == pytest.approx(expected, rel=0.35)


def test_a_finer_grid_leaves_more_open() -> None:
    coarse, fine = (sensor_deviation(sensor_physics(band(noise=Noise(0.02, 0.0)), 1.0, None, s), 0.4, 1) for s in (1, 2))
    assert fine > 1.3 * coarse


@pytest.mark.parametrize(("size", "margin", "words"), [((60, 61), 12, "multiples of the factor"), ((60, 60), 15, "multiple of the factor")])
def test_sizes_that_do_not_fit_are_refused(size: tuple[int, int], margin: int, words: str) -> None:
    psf = torch.ones(1, 1, 3, 3) / 9
    with pytest.raises(ValueError, match=words):
        SensorPhysics(psf, SignalDependentNoise(torch.ones(1), torch.zeros(1)), margin, 2).A(torch.zeros(1, 1, *size))
