"""Packing, spectra, charts and the checks of the noise model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.ndimage import convolve

from imaging.raster import Magnified, Scene
from imaging.report.charts import Line, chart, ticks
from imaging.report.encoding import pack
from imaging.report.layers import Trio
from imaging.report.noise_check import LAGS, BandCheck, autocorrelation, check_bands, residual_of
from imaging.report.sections import _verdict
from imaging.report.spectrum import ideal_gain, radial, spectra
from imaging.restoration import RestoreOptions, ScenePaths, open_restoration
from imaging.sensors import Mtf, Noise, NoiseEstimate, load_profile
from tests.report.packed import unpack
from tests.scenes import write_scene


def test_whole_numbers_are_packed_exactly() -> None:
    array = np.random.default_rng(0).integers(-30_000, 30_000, (3, 17, 23)).astype(np.float32)
    array[1, 3, :] = np.nan
    np.testing.assert_array_equal(unpack(pack(array), array.shape), array)


def test_other_numbers_are_packed_to_their_range() -> None:
    array = np.random.default_rng(0).normal(20, 5, (2, 40, 31)).astype(np.float32)
    array[0, 0, 0] = np.nan
    found = unpack(pack(array), array.shape)
    assert np.isnan(found[0, 0, 0])
    for band, values in enumerate(array):
        spread = np.nanmax(values) - np.nanmin(values)
        assert np.nanmax(np.abs(found[band] - values)) <= 0.501 * spread / 65534
    unknown = np.full((1, 2, 2), np.nan, np.float32)
    assert np.isnan(unpack(pack(unknown), (1, 2, 2))).all()


def test_power_of_white_noise_is_its_variance_in_every_ring() -> None:
    noise = np.random.default_rng(3).normal(100, 7, (40, 128, 128)).astype(np.float32)
    power = np.mean([radial(n, 16) for n in noise], 0)
    np.testing.assert_allclose(power[1:], 49, rtol=0.06)


def test_blur_lowers_the_power_as_the_ideal_gain_says() -> None:
    mtf = Mtf("gaussian", (0.2, 0.2))
    noise = np.random.default_rng(4).normal(0, 1, (40, 160, 160))
    blurred = [convolve(n, mtf.psf(), mode="wrap").astype(np.float32) for n in noise]
    power = np.mean([radial(b, 16) for b in blurred], 0)
    gain = ideal_gain(mtf, (np.arange(16) + 0.5) / 32)
    np.testing.assert_allclose(np.sqrt(1 / power[1:]), gain[1:], rtol=0.08)
    assert np.isnan(ideal_gain(mtf, np.array([0.6]))).all()


def test_at_scale_2_a_scene_that_nothing_was_done_to_gains_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    fine = np.fft.fft2(rng.normal(0, 300, (512, 512)))
    rows, columns = np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512), indexing="ij")
    fine[np.maximum(np.abs(rows), np.abs(columns)) >= 0.24] = 0  # nothing folds when every second pixel is left out
    values = (1000 + np.fft.ifft2(fine).real).astype(np.float32)[None]
    values[:, 250:256, :90] = np.nan  # a seam without data, which some squares avoid
    coarse = write_scene(tmp_path / "coarse.tif", values[:, ::2, ::2])
    with Scene(coarse) as a, Scene(write_scene(tmp_path / "fine.tif", values)) as b:
        (found,) = spectra(Trio(Magnified(a, 2), b, None), [2])
    inside = (found.frequency > 0.05) & (found.frequency < 0.4)
    np.testing.assert_allclose(found.power["restored"][inside], found.power["measured"][inside], rtol=0.05)


@pytest.mark.parametrize(("low", "high", "expected"), [(0, 10, [0, 2, 4, 6, 8, 10]), (0.13, 0.52, [0.2, 0.3, 0.4, 0.5]), (3, 3, [3])])
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    np.testing.assert_allclose(ticks(low, high), expected)


def test_a_chart_is_well_formed_and_breaks_where_values_are_unknown() -> None:
    x = np.arange(6.0)
    y = np.array([1.0, 10.0, np.nan, 100.0, 1000.0, -1.0])
    drawn = chart("Title <with> & marks", [Line("a < b", x, y, "before")], "x", "y", log=True)
    root = ElementTree.fromstring(drawn)
    curves = root.findall(".//polyline")
    assert [len(c.attrib["points"].split()) for c in curves] == [2, 2]
    heights = [float(point.split(",")[1]) for c in curves for point in c.attrib["points"].split()]
    assert np.ptp(np.diff(heights)[[0, 2]]) < 0.11  # a decade each
    assert root.find("svg").attrib["aria-label"] == "Title <with> & marks"  # type: ignore[union-attr]


def test_autocorrelation_is_that_of_a_moving_average() -> None:
    white = np.random.default_rng(5).normal(size=(2, 400, 400))
    moving = [(w[:, 1:] + w[:, :-1]) / np.sqrt(2) for w in white]
    moving[0][:50, :50] = np.nan
    expected = np.zeros((2 * LAGS + 1,) * 2)
    expected[LAGS, LAGS - 1 : LAGS + 2] = 0.5, 1.0, 0.5
    np.testing.assert_allclose(autocorrelation(moving), expected, atol=0.01)


def test_residuals_of_the_noise_model_have_its_variance_and_are_white() -> None:
    rng, noise = np.random.default_rng(6), Noise(4.0, 0.1, 50.0)
    signal = rng.uniform(50, 2000, (300, 300))
    residual = rng.normal(size=signal.shape) * np.sqrt(noise.variance(signal))
    known = rng.random(signal.shape) > 0.2
    found = residual_of([(residual, signal, known)], noise)
    assert found is not None
    assert found.ratio == pytest.approx(1.0, abs=0.02)
    assert found.colour < 0.02
    np.testing.assert_allclose(found.measured, found.profile, rtol=0.06)
    assert found.pixels == known.sum()
    halved = residual_of([(residual, signal, known)], Noise(2.0, 0.025, 50.0))
    assert halved is not None
    assert halved.ratio == pytest.approx(4.0, rel=0.02)
    assert residual_of([(residual[:20, :20], signal[:20, :20], known[:20, :20])], noise) is None


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (0.5, False), (2.0, False)])
def test_noise_that_is_not_the_profiles_is_seen(factor: float, agrees: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    truth = 800 + 300 * np.add.outer(np.sin(np.arange(256) / 40), np.cos(np.arange(256) / 55))
    values = (truth + rng.normal(0, 12, truth.shape)).round().astype(np.uint16)
    path = write_scene(tmp_path / "scene.tif", values[None])
    job = open_restoration(ScenePaths(input=path), "pleiades-raw", RestoreOptions(method="tv", noise=(factor * 12, 0.0)))
    with job.scene:
        (check,) = check_bands(job)
    assert check.residual is None  # a point estimate has no posterior
    assert check.factor == pytest.approx(1 / factor, rel=0.1)
    assert check.agrees is agrees


def test_only_noise_estimated_from_this_scene_agrees_by_construction(tmp_path: Path) -> None:
    """A profile whose noise was estimated from another scene is checked like any other."""
    rng = np.random.default_rng(7)
    path = write_scene(tmp_path / "scene.tif", (900 + rng.normal(0, 12, (1, 256, 256))).round().astype(np.uint16))
    profile = load_profile("pleiades-raw").with_overrides(noise=(24.0, 0.0))
    band = profile.bands[0]
    elsewhere = replace(profile, bands=(replace(band, noise=Noise(24.0, 0.0, source="estimated from the scene: before")),))
    for sensor, noise, own in ((elsewhere, "profile", False), (elsewhere, "estimate", True)):
        job = open_restoration(ScenePaths(input=path), sensor, RestoreOptions(method="tv", noise=noise))
        with job.scene:
            (check,) = check_bands(job)
        assert check.own is own
        assert check.agrees is (None if own else False)


@pytest.mark.parametrize(
    ("own", "error", "agrees", "said"),
    [
        (False, 0.05, False, "more noise than the profile says"),
        (False, 0.45, None, "too uncertain for a verdict"),
        (True, 0.05, None, "proves nothing"),
    ],
)
def test_there_is_no_verdict_where_nothing_can_be_told(own: bool, error: float, agrees: bool | None, said: str) -> None:
    noise = NoiseEstimate(
        sigma0=15.0, gain=0.0, sigma0_error=1.0, gain_error=0.0, offset=0.0, level=500.0, std=15.0, std_error=15.0 * error, coloured=False,
        ratio=1.0, correlation=1.0, cross_check=15.0, agrees=True, blocks=100,
    )  # fmt: skip
    check = BandCheck(Noise(10.0, 0.0), noise, None, own=own)
    assert check.factor == pytest.approx(1.5)
    assert check.agrees is agrees
    assert said in _verdict(check, "DN")[1]


def test_a_posterior_draw_leaves_white_noise_of_the_profile(tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "data" / "pleiades_like_pan.tif"
    job = open_restoration(ScenePaths(input=sample, output=tmp_path / "a.tif"), "pleiades-raw", RestoreOptions())
    with job.scene:
        (check,) = check_bands(job)
    assert check.agrees
    assert check.residual is not None
    assert 0.9 < check.residual.ratio < 1.35  # a posterior somewhat wider than exact raises it
    assert check.residual.colour < 0.2
