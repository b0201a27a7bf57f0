"""Slanted edges: the width of one, and the MTF of a scene with many."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter
from scipy.special import ndtr

from imaging.errors import InputError
from imaging.sensors import MtfEstimate, estimate_mtf, estimate_noise
from imaging.sensors.edges import distances, find_edges
from imaging.sensors.mtf import gaussian_sigma, separable_psf
from tests.sensors.buildings import FINER, noisy, sample, seen, town


@pytest.fixture(scope="module")
def drawing() -> NDArray[np.float32]:
    return town(192, 0)


def estimated(*areas: NDArray[np.float64]) -> MtfEstimate:
    return estimate_mtf(sample(*areas), 0, estimate_noise(sample(*areas), 0))


def step(angle: float, sigma: float, low: float = 500.0, high: float = 1500.0, size: int = 48) -> NDArray[np.float64]:
    """An edge through the middle, ``angle`` degrees off the columns, blurred in closed form."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    t = np.tan(np.radians(angle))
    return np.asarray(low + (high - low) * ndtr((x - t * y) / np.sqrt(1 + t * t) / sigma))


@pytest.mark.parametrize("angle", [-12.0, 3.5, 8.0])
@pytest.mark.parametrize("sigma", [0.45, 0.8])
@pytest.mark.parametrize("levels", [(500.0, 1500.0), (1500.0, 500.0)])
def test_one_edge_has_the_width_and_angle_it_was_drawn_with(angle: float, sigma: float, levels: tuple[float, float]) -> None:
    edges = find_edges(step(angle, sigma, *levels), np.ones((48, 48), dtype=bool), lambda level: 1.0)
    assert edges
    for edge in edges:
        assert edge.variance == pytest.approx(sigma**2, rel=1e-3)
        assert np.degrees(edge.angle) == pytest.approx(angle, abs=1e-2)
        assert edge.height == pytest.approx(1000, rel=1e-3)
        measured = np.isfinite(edge.profile)
        # A sample is the mean over a quarter of a pixel.
        assert edge.profile[measured] == pytest.approx(ndtr(distances() / sigma)[measured], abs=0.12)
        assert measured[np.abs(distances()) < 2].all()


def test_errors_of_widths_are_those_of_many_draws() -> None:
    clean = step(7.0, 0.6)
    found = [
        edge
        for seed in range(40)
        for edge in find_edges(
            clean + np.random.default_rng(seed).normal(0, 20, clean.shape), np.ones((48, 48), dtype=bool), lambda v: 20.0
        )
    ]
    assert len(found) >= 40
    # 1 % of the step is allowed for the model beside the noise of 2 %, hence up to 12 % more.
    assert np.std([e.variance for e in found]) == pytest.approx(np.mean([e.error for e in found]), rel=0.35)
    assert np.mean([e.variance for e in found]) == pytest.approx(0.36, rel=0.03)


@pytest.mark.parametrize("angle", [0.0, 1.5, 20.0, 45.0])
def test_edges_off_the_range_of_angles_are_left_out(angle: float) -> None:
    assert find_edges(step(angle, 0.6), np.ones((48, 48), dtype=bool), lambda level: 1.0) == []


def test_edges_near_invalid_pixels_and_faint_ones_are_left_out() -> None:
    clean, good = step(7.0, 0.6), np.ones((48, 48), dtype=bool)
    assert find_edges(clean, good, lambda level: 49.0)
    assert find_edges(clean, good, lambda level: 51.0) == []
    good[::10] = False
    assert find_edges(clean, good, lambda level: 1.0) == []


def test_edges_with_busy_sides_are_left_out() -> None:
    busy = gaussian_filter(np.random.default_rng(0).standard_normal((48, 48)), 0.7)
    image = step(7.0, 0.6) + 250 * busy / busy.std() * (step(7.0, 0.6) > 1499)
    assert find_edges(image, np.ones((48, 48), dtype=bool), lambda level: 1.0) == []


def test_a_line_is_no_edge() -> None:
    line = step(7.0, 0.6) - np.roll(step(7.0, 0.6), 3, axis=1)
    assert find_edges(line, np.ones((48, 48), dtype=bool), lambda level: 1.0) == []


@pytest.mark.parametrize("pair", [(0.1, 0.1), (0.2, 0.2), (0.4, 0.4), (0.15, 0.3), (0.3, 0.1), (0.5, 0.05)])
def test_the_mtf_at_nyquist_is_recovered_both_ways(drawing: NDArray[np.float32], pair: tuple[float, float]) -> None:
    found = estimated(noisy(seen(drawing, *pair), 1))
    assert min(found.edges) >= 5
    for value, true, error in zip(found.nyquist, pair, found.error, strict=True):
        assert value == pytest.approx(true, rel=0.06)
        assert abs(value - true) <= 3 * error
        assert error < 0.15 * true
    assert found.overshoot < 0.015
    assert found.notes == ()


def test_a_transposed_scene_has_the_two_directions_exchanged(drawing: NDArray[np.float32]) -> None:
    image = noisy(seen(drawing, 0.15, 0.3), 1)
    found, turned = estimated(image), estimated(np.ascontiguousarray(image.T))
    assert turned.edges == found.edges[::-1]
    assert turned.nyquist == pytest.approx(found.nyquist[::-1], rel=0.02)


def test_the_estimate_includes_the_aperture_of_the_pixels(drawing: NDArray[np.float32]) -> None:
    size = len(drawing) // FINER
    averaged = drawing.reshape(size, FINER, size, FINER).mean((1, 3)).astype(float)
    found = estimated(noisy(convolve(averaged, separable_psf("gaussian", (0.3, 0.3)), mode="nearest"), 1))
    # A square pixel passes 2 / pi of the Nyquist frequency; the Gaussian stands for the product near half height.
    assert found.nyquist == pytest.approx((0.3 * 2 / np.pi,) * 2, rel=0.15)


def test_soft_objects_among_sharp_ones_do_not_lower_the_estimate(drawing: NDArray[np.float32]) -> None:
    sharp = seen(drawing, 0.25, 0.25)
    soft = [gaussian_filter(seen(town(192, seed), 0.25, 0.25), sigma) for seed, sigma in ((2, 0.4), (3, 0.9))]
    found = estimated(noisy(sharp, 1), *(noisy(s, 2) for s in soft))
    assert found.nyquist == pytest.approx((0.25, 0.25), rel=0.15)


def test_a_sharpened_scene_is_found_out(drawing: NDArray[np.float32]) -> None:
    clean, sigma, strength = seen(drawing, 0.3, 0.3), gaussian_sigma(0.3), 0.6
    found = estimated(noisy(clean + strength * (clean - gaussian_filter(clean, 1.0)), 1, sigma0=10, gain=0))
    d = np.linspace(0, 4, 400)
    expected = ((1 + strength) * ndtr(d / sigma) - strength * ndtr(d / np.hypot(sigma, 1))).max() - 1
    assert found.overshoot == pytest.approx(expected, abs=0.01)
    assert any("sharpened" in n for n in found.notes)


def test_one_direction_stands_in_for_the_other() -> None:
    rows, columns = np.mgrid[: 256 * FINER, : 128 * FINER]
    stripes = np.where(((columns - 0.12 * rows) // (20 * FINER)) % 2 == 0, 600, 1800).astype(np.float32)
    found = estimated(noisy(seen(stripes, 0.2, 0.35), 1))
    assert found.edges[0] >= 5 > found.edges[1]
    assert found.nyquist[0] == pytest.approx(0.2, rel=0.1)
    assert found.nyquist[1] == found.nyquist[0]
    assert found.error[1] > 0.2 * found.nyquist[1]
    assert any("along track" in n for n in found.notes)


@pytest.mark.parametrize("blur", [0.0, 0.7, 1.5, 3.0])
def test_noise_and_texture_have_no_edges(blur: float) -> None:
    texture = gaussian_filter(np.random.default_rng(0).standard_normal((512, 512)), blur)
    with pytest.raises(InputError, match=r"shows \d+ usable edges .* give --mtf-nyquist"):
        estimated(noisy(1200 + 300 * texture / texture.std(), 1))


def test_soft_edges_alone_are_not_taken_for_the_sensor(drawing: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match="give --mtf-nyquist"):
        estimated(noisy(gaussian_filter(seen(drawing, 0.2, 0.2), 1.3), 1))
