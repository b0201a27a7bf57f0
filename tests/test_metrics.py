"""Metrics against closed forms and statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from deepinv.loss.metric import PSNR, SSIM
from torch import from_numpy

from imaging.metrics import coverage, psnr, ssim
from tests.scenes import smooth


def test_psnr_in_closed_form() -> None:
    reference = np.zeros((10, 10))
    assert psnr(reference + 0.1, reference, 1.0) == pytest.approx(20)
    assert psnr(reference + 40.95, reference, 4095.0) == pytest.approx(40)
    assert psnr(reference, reference, 1.0) == math.inf


def test_psnr_of_integers_does_not_wrap_around() -> None:
    assert psnr(np.array([[0]], dtype=np.uint8), np.array([[1]], dtype=np.uint8), 255) == pytest.approx(20 * math.log10(255))


def test_psnr_counts_valid_pixels_only() -> None:
    image = np.array([[0.1, 0.1, 9.0]])
    assert psnr(image, np.zeros((1, 3)), 1.0, image < 1) == pytest.approx(20)


def test_psnr_is_that_of_deepinv() -> None:
    reference = smooth(1, 40, 50)[0] / 4095
    image = reference + np.random.default_rng(0).normal(0, 0.05, reference.shape)
    expected = float(PSNR(max_pixel=1.0)(from_numpy(image)[None, None], from_numpy(reference)[None, None]))
    assert psnr(image, reference, 1.0) == pytest.approx(expected, abs=1e-4)


def test_ssim_is_one_for_the_image_itself_and_falls_with_noise() -> None:
    reference = smooth(1, 40, 50)[0]
    noise = np.random.default_rng(0).normal(0, 100, reference.shape)
    assert ssim(reference, reference, 4095) == pytest.approx(1, abs=1e-12)
    assert ssim(reference + 2 * noise, reference, 4095) < ssim(reference + noise, reference, 4095) < 0.99


def test_ssim_of_constant_images_in_closed_form() -> None:
    # Only the luminance term is left: (2 a b + c1) / (a^2 + b^2 + c1), c1 = (0.01 peak)^2.
    a, b, c = 0.4, 0.5, 1e-4
    expected = (2 * a * b + c) / (a**2 + b**2 + c)
    assert ssim(np.full((30, 30), a), np.full((30, 30), b), 1.0) == pytest.approx(expected, rel=1e-9)


def test_ssim_agrees_with_deepinv() -> None:
    reference = smooth(1, 64, 64)[0] / 4095
    image = reference + np.random.default_rng(0).normal(0, 0.02, reference.shape)
    expected = float(SSIM(max_pixel=1.0)(from_numpy(image)[None, None].float(), from_numpy(reference)[None, None].float()))
    assert ssim(image, reference, 1.0) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("level", [0.5, 0.683, 0.9, 0.95])
def test_coverage_of_gaussian_errors_is_nominal(level: float) -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(1, 5, (400, 500))
    mean = rng.uniform(0, 100, std.shape)
    reference = mean + std * rng.standard_normal(std.shape)
    tolerance = 4 * math.sqrt(level * (1 - level) / std.size)
    assert coverage(mean, std, reference, level) == pytest.approx(level, abs=tolerance)
    assert coverage(mean, 0.7 * std, reference, level) < level - 0.05  # too sure
    assert coverage(mean, 1.5 * std, reference, level) > level + 0.02


def test_coverage_counts_valid_pixels_only() -> None:
    reference = np.array([[0.0, 0.0, 50.0, 50.0]])
    assert coverage(np.zeros((1, 4)), np.ones((1, 4)), reference, 0.9) == 0.5
    assert coverage(np.zeros((1, 4)), np.ones((1, 4)), reference, 0.9, reference < 10) == 1
