"""Spectral weights and the covariance of bands, from scenes whose weights are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from imaging.fusion import BandStatistics, BundleArea, CrossBandGaussian, scene_statistics
from imaging.fusion.covariance import band_statistics, differences, huber
from tests.fusion.bundles import drawn, measured, mixing, sensor

WEIGHTS = torch.tensor([[0.35, 0.3, 0.15, 0.1]])
MEANS = torch.tensor([0.4, 0.3, 0.35, 0.5, 0.25])


def changes(count: int = 20_000, *, noise: float = 0.0, beyond: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Differences of a panchromatic band of `WEIGHTS` and four others, and the variance of each value's noise."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(mixing(WEIGHTS, beyond=0.0)[1:, 1:].double().numpy())
    coarse = rng.standard_normal((count, 4)) @ factor.T
    pan = coarse @ WEIGHTS[0].double().numpy() + beyond * rng.standard_normal(count)
    coarse = coarse + np.sqrt(2) * noise * rng.standard_normal(coarse.shape)
    variances = torch.tensor([0.0, *[noise**2] * 4])
    return torch.from_numpy(np.concatenate([pan[:, None], coarse], 1)), variances


def test_weights_are_within_their_errors() -> None:
    found = [band_statistics(*changes(beyond=0.1, seed=s), MEANS, 1) for s in range(12)]
    scores = torch.cat([(f.weights - WEIGHTS) / f.errors for f in found])
    assert 0.6 < float(scores.square().mean().sqrt()) < 1.4
    assert float(scores.abs().max()) < 4
    torch.testing.assert_close(found[0].offsets, MEANS[:1] - found[0].weights @ MEANS[1:])
    assert found[0].count == 20_000


def test_noise_of_the_coarse_bands_does_not_make_weights_smaller() -> None:
    moved, noise = changes(noise=0.4)
    told, untold = band_statistics(moved, noise, MEANS, 1), band_statistics(moved, torch.zeros(5), MEANS, 1)
    torch.testing.assert_close(told.weights, WEIGHTS, atol=0.01, rtol=0)
    assert float((untold.weights - WEIGHTS).abs().max()) > 0.05


def test_overestimated_noise_does_not_make_bands_mixtures_of_each_other() -> None:
    moved, noise = changes(noise=0.1)
    right, wrong = band_statistics(moved, noise, MEANS, 1), band_statistics(moved, 25 * noise, MEANS, 1)
    least = [float(torch.linalg.eigvalsh(f.covariance[1:, 1:])[0]) for f in (right, wrong)]
    assert 0.4 < least[1] / least[0] < 2
    assert right.believed == 1.0
    assert wrong.believed < 0.5


def test_outliers_of_one_band_hardly_matter() -> None:
    """Five in a hundred differences that only the panchromatic band saw, such as of a cloud that moved."""
    moved, noise = changes(beyond=0.05)
    spoilt = moved.clone()
    rng = np.random.default_rng(1)
    hit = torch.from_numpy(rng.random(len(moved)) < 0.05)
    spoilt[hit, 0] = spoilt[hit, 0] - 1.5 * moved[hit, 1] + torch.from_numpy(rng.standard_normal(int(hit.sum())))
    found = band_statistics(spoilt, noise, MEANS, 1)
    plain = torch.linalg.lstsq(spoilt[:, 1:], spoilt[:, :1]).solution.T
    assert float((found.weights - WEIGHTS).abs().max()) < 0.02
    assert float((plain - WEIGHTS).abs().max()) > 0.06


def test_what_lies_outside_of_the_span_is_told() -> None:
    moved, noise = changes(beyond=0.4)
    found = band_statistics(moved, noise, MEANS, 1)
    expected = 0.16 / float(moved[:, 0].var())
    assert float(found.outside[0]) == pytest.approx(expected, rel=0.05)
    assert float(band_statistics(*changes(), MEANS, 1).outside[0]) < 1e-3


def test_covariance_is_that_of_the_bands_with_a_variance_of_one_for_the_sharp_one() -> None:
    moved, noise = changes(beyond=0.2)
    found = band_statistics(moved, noise, MEANS, 1).covariance.double()
    exact = torch.cov(moved.T)
    torch.testing.assert_close(found, exact / exact[0, 0], atol=0.03, rtol=0)  # weights of the robust sum take some of the tails off
    assert float(found[0, 0]) == pytest.approx(1, abs=1e-6)


def test_given_weights_take_the_place_of_those_found() -> None:
    """Up to a gain; the covariance stays one, and what the coarse bands have in common with the sharp one follows from the weights."""
    found = band_statistics(*changes(beyond=0.3), MEANS, 1)
    given = found.with_weights(2 * WEIGHTS)
    torch.testing.assert_close(given.weights, found.weights, atol=0.03, rtol=0)
    wrong = found.with_weights(torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    for known in (given, wrong):
        assert float(torch.linalg.eigvalsh(known.covariance).min()) > 0
        torch.testing.assert_close(known.covariance[:1, 1:], known.weights @ known.covariance[1:, 1:], atol=2e-3, rtol=0)
        assert float(known.covariance[0, 0]) == pytest.approx(1, abs=2e-3)
        assert not known.errors.any()
    assert float(wrong.weights[0, 0]) == 0
    assert float(wrong.outside) > float(given.outside)
    assert float(given.outside) == pytest.approx(float(found.outside), rel=0.05)


def test_an_exact_mixture_is_no_singular_covariance() -> None:
    moved, noise = changes()
    for known in ((found := band_statistics(moved, noise, MEANS, 1)), found.with_weights(WEIGHTS)):
        values = torch.linalg.eigvalsh(known.covariance.double())
        assert float(values[0] / values[-1]) > 0.9e-4
        CrossBandGaussian(sensor(1, 0.15, 0.006), sensor(4, 0.3, 0.003, factor=4), known.covariance, MEANS).deviations  # noqa: B018


def test_differences_are_of_neighbours_that_are_both_valid() -> None:
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    valid = torch.ones_like(x)
    valid[:, 1, 0, 0] = 0
    found = differences(x, valid)
    assert found.shape == (3 * 3 + 2 * 4 - 2, 2)
    assert sorted(found[:, 0].tolist()) == [1.0] * 8 + [4.0] * 7


def test_huber_is_robust_and_tells_its_errors() -> None:
    rng = np.random.default_rng(0)
    design = torch.from_numpy(rng.standard_normal((2000, 2)))
    wanted = design @ torch.tensor([1.0, -2.0], dtype=torch.float64) + 0.1 * torch.from_numpy(rng.standard_normal(2000))
    wanted[:100] += 30
    solution, covariance, variance = huber(design, wanted)
    np.testing.assert_allclose(solution, [1, -2], atol=0.015)
    assert variance == pytest.approx(0.01, rel=0.2)
    np.testing.assert_allclose(covariance.diagonal().sqrt(), 0.1 / np.sqrt(1900), rtol=0.2)


def bundle() -> tuple[CrossBandGaussian, BundleArea]:
    fine, low = sensor(1, 0.15, 0.005, margin=28), sensor(4, 0.3, 0.004, factor=4, margin=28)
    model = CrossBandGaussian(fine, low, mixing(WEIGHTS, beyond=1e-4), MEANS)
    sharp, coarse = measured(model, drawn(model, (56 + 320, 56 + 320), 4), 1)
    return model, BundleArea(sharp, coarse, torch.ones_like(sharp), torch.ones_like(coarse))


def test_statistics_of_a_scene_are_those_that_it_was_drawn_with() -> None:
    model, area = bundle()
    found = scene_statistics([area], model.sharp, model.coarse)
    expected = torch.linalg.solve(model.covariance[1:, 1:], model.covariance[1:, :1]).T
    torch.testing.assert_close(found.weights, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(found.weights.sum(), expected.sum(), atol=0.02, rtol=0)
    correlation, exact = (c / torch.outer(c.diagonal(), c.diagonal()).sqrt() for c in (found.covariance, model.covariance))
    torch.testing.assert_close(correlation, exact, atol=0.04, rtol=0)
    torch.testing.assert_close(found.covariance.diagonal(), model.covariance.diagonal(), atol=0, rtol=0.1)
    assert float(found.outside) < 0.02


def test_invalid_pixels_do_not_matter() -> None:
    model, area = bundle()
    sharp, coarse, masks = area.sharp.clone(), area.coarse.clone(), [torch.ones_like(area.sharp), torch.ones_like(area.coarse)]
    sharp[..., 100:150, 60:90], coarse[:, 2, 60:70, 10:30] = 0.95, 0.0
    masks[0][..., 100:150, 60:90], masks[1][:, 2, 60:70, 10:30] = 0, 0
    whole = scene_statistics([area], model.sharp, model.coarse)
    found = scene_statistics([BundleArea(sharp, coarse, *masks)], model.sharp, model.coarse)
    torch.testing.assert_close(found.weights, whole.weights, atol=0.03, rtol=0)
    assert found.count < whole.count
    empty = BundleArea(sharp, coarse, masks[0], torch.zeros_like(coarse))
    with pytest.raises(ValueError, match="hardly a valid pixel in common"):
        scene_statistics([empty], model.sharp, model.coarse)


def test_offsets_are_what_a_sharp_band_sees_beside_the_others() -> None:
    nothing = torch.zeros(1)
    known = BandStatistics(torch.eye(3), torch.tensor([0.5, 0.4, 0.2]), torch.tensor([[1.0, 0.25]]), torch.zeros(1, 2), nothing, 9)
    assert float(known.offsets) == pytest.approx(0.5 - 0.4 - 0.05)
