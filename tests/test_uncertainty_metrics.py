"""Metrics of uncertainty against closed forms, and on posteriors that are right or wrong by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from imaging import metrics


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, deviation and a reference drawn from them."""
    rng = np.random.default_rng(0)
    std = rng.uniform(1, 5, (300, 400))
    mean = rng.uniform(0, 100, std.shape)
    return mean, std, mean + std * rng.standard_normal(std.shape)


def test_curve_of_a_calibrated_posterior_is_the_diagonal(calibrated) -> None:
    mean, std, reference = calibrated
    curve = metrics.coverage_curve(mean, std, reference)
    np.testing.assert_allclose(curve, metrics.LEVELS, atol=0.005)
    assert (metrics.coverage_curve(mean, 0.8 * std, reference) < curve - 0.005).all()


def test_width_is_in_units_of_the_image(calibrated) -> None:
    _, std, _ = calibrated
    assert metrics.interval_width(std, 0.95) == pytest.approx(2 * 1.959964 * std.mean(), rel=1e-6)
    assert metrics.interval_width(std, 0.95, std > 3) == pytest.approx(2 * 1.959964 * std[std > 3].mean(), rel=1e-6)


def test_likelihood_and_crps_are_those_of_numerical_integration() -> None:
    mean, std, reference = (np.array([v]) for v in (1.3, 0.7, 2.1))
    assert metrics.negative_log_likelihood(mean, std, reference) == pytest.approx(-norm(1.3, 0.7).logpdf(2.1), rel=1e-12)
    grid = np.linspace(-8, 12, 2_000_001)
    integrand = (norm(1.3, 0.7).cdf(grid) - (grid >= 2.1)) ** 2
    assert metrics.crps(mean, std, reference) == pytest.approx(integrand.sum() * (grid[1] - grid[0]), abs=1e-5)


@pytest.mark.parametrize("score", [metrics.negative_log_likelihood, metrics.crps])
def test_scores_are_best_for_the_right_deviation(calibrated, score) -> None:
    mean, std, reference = calibrated
    right = score(mean, std, reference)
    assert right < score(mean, 0.8 * std, reference)
    assert right < score(mean, 1.25 * std, reference)
    assert right < score(mean + std / 2, std, reference)
    part = std < 2
    assert score(mean, std, reference, part) == pytest.approx(score(mean[part], std[part], reference[part]))


def test_crps_of_an_ensemble_is_that_of_its_density_whatever_its_size(calibrated) -> None:
    mean, std, reference = calibrated
    rng = np.random.default_rng(1)
    expected = metrics.crps(mean, std, reference)
    for count in (2, 5, 20):
        draws = mean + std * rng.standard_normal((count, *mean.shape))
        assert metrics.crps_of_samples(draws, reference) == pytest.approx(expected, rel=0.01)
    with pytest.raises(ValueError, match="at least 2"):
        metrics.crps_of_samples(mean[None], reference)


def test_histogram_of_standardised_errors_is_the_normal_density(calibrated) -> None:
    edges = np.linspace(-3, 3, 13)
    found = metrics.standardised_histogram(*calibrated, edges)
    expected = np.diff(norm.cdf(edges)) / np.diff(edges)
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_groups_show_where_intervals_are_wrong(calibrated) -> None:
    mean, std, reference = calibrated
    doubtful = np.where(mean > 80, 0.5 * std, std)
    found = metrics.coverage_by(mean, doubtful, reference, mean, 0.9, 5)
    np.testing.assert_allclose(found[:4], 0.9, atol=0.01)
    assert found[4] == pytest.approx(2 * norm.cdf(0.5 * 1.644854) - 1, abs=0.01)


def test_local_contrast_of_noise_and_of_a_plane() -> None:
    rng = np.random.default_rng(2)
    image = np.full((2, 80, 80), 1e6)
    image[1] += 7 * rng.standard_normal((80, 80))
    contrast = metrics.local_contrast(image, 9)
    assert contrast[0].max() < 1e-3
    assert contrast[1].mean() == pytest.approx(7, rel=0.03)
    plane = metrics.local_contrast(np.arange(80.0)[None] * np.ones((80, 1)), 9)
    np.testing.assert_allclose(plane[20:-20, 20:-20], math.sqrt((81 - 1) / 12), rtol=1e-6)


def test_rings_of_frequency_share_out_the_plane() -> None:
    rings = metrics.frequency_bands((32, 48), 4)
    assert rings.shape == (4, 32, 25)
    assert (rings.sum(0) == 1).all()
    assert rings[0, 0, 0]
    assert rings[3, 16, 24]


def test_coverage_by_frequency_is_nominal_for_few_samples_and_finds_the_band_that_is_wrong() -> None:
    rng = np.random.default_rng(3)
    shape, count = (192, 160), 8
    mean = rng.uniform(0, 100, shape)
    drawn = rng.standard_normal((count + 1, *shape))
    found = metrics.coverage_by_frequency(mean, mean + drawn[1:], mean + drawn[0], 0.9)
    np.testing.assert_allclose(found, 0.9, atol=0.03)
    low = metrics.frequency_bands(shape, 4)[0]
    flawed = np.fft.irfft2(np.fft.rfft2(drawn[1:]) * np.where(low, 0.3, 1.0), s=shape)
    found = metrics.coverage_by_frequency(mean, mean + flawed, mean + drawn[0], 0.9)
    assert found[0] < 0.6
    np.testing.assert_allclose(found[1:], 0.9, atol=0.03)


def test_blocks() -> None:
    image = np.arange(2 * 5 * 7).reshape(2, 5, 7)
    found = metrics.block_mean(image, 2)
    assert found.shape == (2, 2, 3)
    assert found[1, 0, 2] == image[1, :2, 4:6].mean()
