"""Point spread functions follow their MTF."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.sensors import builtin_sensors, load_profile
from imaging.sensors.mtf import Kernel, gaussian_sigma, line_spread, mtf_curve, nyquist_of, separable_psf


def transfer(kernel: Kernel, size: int = 256) -> np.ndarray:
    """Magnitude of the transfer function on a fine grid, rows and columns of frequencies from 0."""
    return np.abs(np.fft.fft2(kernel, (size, size)))


@pytest.mark.parametrize(("nyquist", "sigma"), [(0.09, 0.699), (0.15, 0.620), (0.30, 0.494), (0.55, 0.348)])
def test_gaussian_sigma_is_the_published_one(nyquist: float, sigma: float) -> None:
    # shared/facts/sensors.md, table of section 1.1, from CNES sensorsio's formula.
    assert gaussian_sigma(nyquist) == pytest.approx(sigma, abs=5e-4)


def test_gaussian_curve_is_the_transform_of_the_gaussian() -> None:
    sigma, f = gaussian_sigma(0.2), np.linspace(-0.5, 0.5, 11)
    assert mtf_curve("gaussian", 0.2, f) == pytest.approx(np.exp(-2 * (np.pi * sigma * f) ** 2), rel=1e-12)


def test_exponential_curve_decays_by_a_constant_factor() -> None:
    f = np.linspace(0, 0.5, 11)
    curve = mtf_curve("exponential", 0.2, f)
    assert curve[1:] / curve[:-1] == pytest.approx(np.full(10, 0.2**0.1), rel=1e-12)
    assert curve[-1] == pytest.approx(0.2)


def test_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted are gaussian and exponential"):
        mtf_curve("box", 0.2, np.zeros(1))


@pytest.mark.parametrize("shape", ["gaussian", "exponential"])
@pytest.mark.parametrize("nyquist", [0.04, 0.15, 0.3, 0.6, 0.94])
def test_line_spread_is_the_constrained_least_squares_fit(shape: str, nyquist: float) -> None:
    kernel = line_spread(shape, nyquist)
    n, f = np.arange(len(kernel)) - len(kernel) // 2, np.fft.fftfreq(1024)
    wanted, design = mtf_curve(shape, nyquist, f), np.cos(2 * np.pi * np.outer(f, n))
    constraints = np.stack([np.ones(len(n)), (-1.0) ** n])
    system = np.block([[design.T @ design, constraints.T], [constraints, np.zeros((2, 2))]])
    # The fit by its optimality conditions; the transfer of an even kernel is a sum of cosines, so only the even part is determined.
    optimum = np.linalg.lstsq(system, np.concatenate([design.T @ wanted, [1.0, nyquist]]), rcond=None)[0][: len(n)]
    assert kernel == pytest.approx((optimum + optimum[::-1]) / 2, abs=1e-9)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)


def test_exponential_kernel_follows_its_curve() -> None:
    f = np.arange(129) / 256
    found = transfer(separable_psf("exponential", (0.2, 0.2)))[0, :129]

    def distance(shape: str) -> float:
        return float(np.sqrt(np.square(found - mtf_curve(shape, 0.2, f)).mean()))

    assert distance("exponential") < 0.02  # a short kernel rounds the cusp at zero off
    assert distance("gaussian") > 0.1


def test_across_is_columns_and_along_is_rows() -> None:
    kernel = separable_psf("gaussian", (0.1, 0.4))
    assert transfer(kernel)[0, 128] == pytest.approx(0.1, abs=1e-9)  # alternating columns
    assert transfer(kernel)[128, 0] == pytest.approx(0.4, abs=1e-9)  # alternating rows
    assert nyquist_of(kernel) == pytest.approx((0.1, 0.4), abs=1e-9)


def test_mtf_of_an_asymmetric_kernel_is_its_transform_at_nyquist() -> None:
    kernel = np.random.default_rng(0).random((7, 7))
    kernel /= kernel.sum()
    assert nyquist_of(kernel) == pytest.approx((transfer(kernel)[0, 128], transfer(kernel)[128, 0]), rel=1e-9)


@pytest.mark.parametrize("name", builtin_sensors())
def test_every_band_has_the_mtf_of_its_profile(name: str) -> None:
    for band in load_profile(name).bands:
        kernel = band.mtf.psf()
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert kernel.sum() == pytest.approx(1, abs=1e-9)
        across, along = (n / (band.mtf.target or 1.0) for n in band.mtf.nyquist)
        assert transfer(kernel)[0, 128] == pytest.approx(across, abs=1e-3)
        assert transfer(kernel)[128, 0] == pytest.approx(along, abs=1e-3)
