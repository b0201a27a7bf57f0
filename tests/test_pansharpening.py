"""Simulated bundles, and the other ways to sharpen them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from deepinv.optim.prior import TVPrior

from imaging.sensors.mtf import line_spread
from scripts.bundles import CASES, MARGIN, WEIGHTS, Bundle, BundleSensor, Case, bundles, simulate, unseen
from scripts.rivals import pansharpening
from scripts.rivals.methods import mean_deviation
from scripts.rivals.pansharpening import METHODS, enlarged, fitted_weights, reduced

SENSOR = BundleSensor()


def scene(side: int = 96, seed: int = 0) -> np.ndarray:
    """Smooth patches in four bands, ``(4, side + margins, side + margins)`` in [0.1, 0.9]."""
    rng = np.random.default_rng(seed)
    n = side + 2 * MARGIN
    coarse = rng.uniform(0.1, 0.9, (5, n // 8, n // 8)).repeat(8, 1).repeat(8, 2)
    return np.float32(0.6 * coarse[:4] + 0.4 * coarse[4:])


def noiseless(x: np.ndarray, pan: np.ndarray, ratio: int = 4) -> Bundle:
    """Bands ``(C, H, W)`` reduced by the filter of the sensor's coarse bands, beside a panchromatic one ``(1, H, W)``."""
    kernel = line_spread("gaussian", SENSOR.coarse[0], ratio)
    low = torch.from_numpy(reduced(x, kernel, ratio))[None]
    told = replace(SENSOR, ratio=ratio)
    return Bundle(torch.from_numpy(x)[None], torch.from_numpy(pan)[None], low, told.profile, told.weights, ratio)


@pytest.mark.parametrize("name", list(CASES))
def test_measurements_have_the_noise_the_mixture_and_the_grids_of_their_sensor(name: str) -> None:
    case = CASES[name]
    colours = np.array([0.5, 0.4, 0.6, 0.5], np.float32)  # whose mixture is half signal, almost
    flat = np.broadcast_to(colours[:, None, None], (4, 256 + 2 * MARGIN, 256 + 2 * MARGIN)).copy()
    bundle = simulate(flat, replace(case, beyond=0.0), 1)
    ratio = case.sensor.ratio
    assert bundle.pan.shape == (1, 1, 256, 256)
    assert bundle.ms.shape == (1, 4, 256 // ratio, 256 // ratio)
    assert [b.gsd for b in bundle.profile.bands] == [0.6] + 4 * [0.6 * ratio]
    np.testing.assert_allclose(bundle.pan.mean(), np.dot(WEIGHTS, colours), rtol=2e-3)
    np.testing.assert_allclose(bundle.ms.mean((0, 2, 3)), colours, rtol=2e-3)
    assert float(bundle.ms[:, 0].std()) == pytest.approx(0.5 / case.sensor.coarse[1], rel=0.06)
    assert float(bundle.pan.std()) == pytest.approx(0.5 / case.sensor.pan[1], rel=0.04)
    stored = bundle.pan * 4095
    assert float((stored - stored.round()).abs().max()) < 1e-3


def test_wrong_cases_are_measured_alike_and_told_otherwise() -> None:
    names = ("nominal", "weights wrong", "MTF wrong")
    right, weights, mtf = (b for _, b in bundles({"x": scene()}, {n: CASES[n] for n in names}, 3))
    for other in (weights, mtf):
        assert torch.equal(other.pan, right.pan)
        assert torch.equal(other.ms, right.ms)
    np.testing.assert_allclose(np.divide(weights.weights, right.weights), [1.2, 0.8, 1.2, 0.8])
    assert sum(weights.weights) == pytest.approx(1)
    assert (mtf.profile.bands[0].mtf.nyquist, mtf.profile.bands[1].mtf.nyquist) == ((0.2, 0.2), (0.25, 0.25))


def test_a_shifted_grid_sees_the_place_to_the_right_and_below() -> None:
    rows, columns = np.mgrid[: 128 + 2 * MARGIN, : 128 + 2 * MARGIN] / 1000
    x = np.broadcast_to(0.1 + rows + 2 * columns, (4, *rows.shape)).astype(np.float32)
    found = [simulate(x, Case(SENSOR, shift=s), 0).ms for s in ((0.0, 0.0), (0.5, 0.3))]
    assert float((found[1] - found[0]).mean()) == pytest.approx((0.3 + 2 * 0.5) / 1000, rel=0.03)


def test_what_is_unseen_is_no_mixture_of_the_bands_and_has_its_share() -> None:
    x = scene(192)
    extra = unseen(torch.from_numpy(x)[None])[0, 0].numpy()
    correlations = [np.corrcoef(extra.ravel(), band.ravel())[0, 1] for band in x]
    np.testing.assert_allclose(correlations, 0, atol=1e-4)
    sharp = BundleSensor(pan=(0.9, 1e5), coarse=(0.3, 150.0))
    plain, beyond = (simulate(x, Case(sharp, beyond=b), 0) for b in (0.0, 0.18))
    assert torch.equal(plain.ms, beyond.ms)
    assert float((beyond.pan - plain.pan).std() / plain.pan.std()) == pytest.approx(0.18, rel=0.05)


def test_what_is_scored_lies_on_its_blocks() -> None:
    bundle = simulate(scene(), CASES["nominal"], 0)
    np.testing.assert_array_equal(bundle.wanted(), scene()[:, MARGIN + 16 : -MARGIN - 16, MARGIN + 16 : -MARGIN - 16])
    np.testing.assert_allclose(bundle.wanted(4), bundle.wanted().reshape(4, 16, 4, 16, 4).mean((2, 4)), rtol=1e-6)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_interpolation_and_reduction_keep_the_place_of_a_ramp(ratio: int) -> None:
    rows, columns = np.mgrid[:96, :96]
    ramp = (rows + 2.0 * columns)[None]
    low = reduced(ramp, line_spread("gaussian", 0.3, ratio), ratio)
    inner = slice(24 // ratio, -24 // ratio)
    centres = ramp.reshape(1, 96 // ratio, ratio, 96 // ratio, ratio).mean((2, 4))
    np.testing.assert_allclose(low[:, inner, inner], centres[:, inner, inner], atol=0.02)  # a hundredth of a pixel
    np.testing.assert_allclose(enlarged(centres, ratio)[:, 24:-24, 24:-24], ramp[:, 24:-24, 24:-24], rtol=1e-4)


@pytest.mark.parametrize("name", ["GSA", "MTF-GLP-CBD"])
@pytest.mark.parametrize("ratio", [2, 4])
def test_bands_of_one_image_are_sharpened_exactly(name: str, ratio: int) -> None:
    image = scene()[:1].astype(float)
    gains, offsets = np.array([0.5, 1.0, 1.4, 0.8])[:, None, None], np.array([0.1, 0.0, -0.05, 0.2])[:, None, None]
    bundle = noiseless(gains * image + offsets, image, ratio)
    np.testing.assert_allclose(METHODS[name](bundle), gains * image + offsets, atol=1e-9)


def test_gdal_divides_by_the_weighted_bands() -> None:
    colours, image = np.array([0.2, 0.4, 0.3, 0.5])[:, None, None], scene()[:1].astype(float)
    found = METHODS["Brovey"](noiseless(np.broadcast_to(colours, (4, *image.shape[1:])).copy(), image))
    np.testing.assert_allclose(found, colours * image / colours.mean(), rtol=1e-5)


def test_weights_are_found_from_the_reduced_panchromatic_band() -> None:
    x = scene().astype(float)
    weights = np.array([0.1, 0.5, 0.0, 0.3])
    bundle = noiseless(x, np.tensordot(weights, x, 1)[None])
    np.testing.assert_allclose(fitted_weights(bundle), weights, atol=1e-9)
    wide = enlarged(bundle.ms[0].numpy(), 4)
    expected = wide * bundle.pan[0].numpy() / np.tensordot(weights, wide, 1)
    inner = (..., slice(16, -16), slice(16, -16))  # GDAL's cubic kernel is another one than a spline's
    assert np.abs(METHODS["Brovey, fitted"](bundle) - expected)[inner].mean() < 0.01


@pytest.mark.parametrize("name", ["nominal", "half"])
def test_deepinv_has_the_coarse_bands_where_the_sensor_has_them(name: str) -> None:
    bundle = simulate(scene(), CASES[name], 0)
    low, mixture = pansharpening.pansharpen_physics(bundle).A(bundle.truth)
    _, sampled = bundle.physics(MARGIN).physics_list
    expected = sampled.A(torch.from_numpy(scene())[None])
    inner = (..., slice(32 // bundle.ratio, -32 // bundle.ratio), slice(32 // bundle.ratio, -32 // bundle.ratio))
    torch.testing.assert_close(low[inner], expected[inner], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixture, torch.einsum("c,bchw->bhw", torch.tensor(WEIGHTS), bundle.truth)[:, None])


def test_total_variation_ends_below_start_and_truth_and_nearer_to_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = simulate(scene(64), CASES["nominal"], 0)
    kept: list[tuple[torch.Tensor, ...]] = []
    plain = pansharpening._total_variation

    def keeping(y, physics, start, weight):  # type: ignore[no-untyped-def]
        found = plain(y, physics, start, weight)
        deviations = [mean_deviation(v, p) for v, p in zip(y, physics.physics_list, strict=True)]

        def energy(x: torch.Tensor) -> torch.Tensor:
            residuals = [(p.A(x) - v).square().sum() / (2 * d**2) for p, v, d in zip(physics.physics_list, y, deviations, strict=True)]
            return sum(residuals) + weight * TVPrior().fn(x)[0]

        kept.append((energy(found), energy(start), energy(torch.from_numpy(scene(64))[None, :, 4:-4, 4:-4])))
        return found

    monkeypatch.setattr(pansharpening, "_total_variation", keeping)
    monkeypatch.setattr(pansharpening, "ITERATIONS", 60)
    found = METHODS["joint TV"](bundle)
    ((reached, start, truth),) = kept
    assert reached < min(start, truth)
    errors = [np.square(bundle.scored(x) - bundle.wanted()).mean() for x in (found, METHODS["GSA"](bundle))]
    assert errors[0] < errors[1]


def test_restored_panchromatic_bands_are_sharper() -> None:
    bundle = simulate(scene(), CASES["nominal"], 0)
    errors = [np.square(bundle.scored(METHODS[n](bundle)) - bundle.wanted()).mean() for n in ("restored PAN + GSA", "GSA")]
    assert errors[0] < errors[1]
