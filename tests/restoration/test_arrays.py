"""Restoring arrays gives what restoring files gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging
from imaging import InputError, RestoreOptions
from imaging.sensors import Noise, SensorProfile, load_profile
from tests.scenes import fit, read, smooth, write_scene

Values = np.ndarray[Any, Any]


@pytest.fixture
def options(tiny_prior: Path) -> RestoreOptions:
    return RestoreOptions(prior=str(tiny_prior), iterations=2)


@pytest.mark.parametrize(("sensor", "bands", "noise"), [("pleiades-raw", 1, "profile"), ("generic", 2, (6.0, 0.09))])
def test_an_array_is_restored_as_its_file_is(tmp_path: Path, tiny_prior: Path, sensor: str, bands: int, noise: Any) -> None:
    pixels = smooth(bands, 60, 77).astype(np.float32)
    pixels[0, 20:30, 11:19] = np.nan
    settings: dict[str, Any] = {"samples": 1, "noise": noise, "seed": 3}
    (tmp_path / "samples").mkdir()
    result = fit(write_scene(tmp_path / "scene.tif", pixels), tiny_prior, sensor=sensor, tile=128, folder=tmp_path / "samples", **settings)
    options = RestoreOptions(prior=str(tiny_prior), iterations=2, **settings)
    restored, std, samples = imaging.restore(pixels, sensor, options=options)
    assert restored.dtype == std.dtype == samples.dtype == np.float64
    assert samples.shape == (1, *pixels.shape)
    files = [result.restored, str(result.std), str(tmp_path / "samples" / "scene_sample_000.tif")]
    for array, file in zip((restored, std, samples[0]), files, strict=True):
        np.testing.assert_allclose(array, read(Path(file)), rtol=1e-6)
        np.testing.assert_array_equal(np.isnan(array), np.isnan(pixels))


def test_a_mask_a_masked_array_and_nan_mean_the_same(options: RestoreOptions) -> None:
    pixels = smooth(1, 64, 64)[0]
    hidden = np.zeros((64, 64), bool)
    hidden[:9, 20:] = True
    by_mask = imaging.restore(pixels, "pleiades-raw", mask=~hidden, options=options)
    as_numbers = imaging.restore(pixels, "pleiades-raw", mask=(~hidden[None]).astype(np.uint8) * 255, options=options)
    by_array = imaging.restore(np.ma.masked_array(pixels, hidden), "pleiades-raw", options=options)
    by_nan = imaging.restore(np.where(hidden, np.nan, pixels), "pleiades-raw", options=options)
    for other in (as_numbers, by_array, by_nan):
        np.testing.assert_array_equal(by_mask.restored, other.restored)
        np.testing.assert_array_equal(by_mask.std, other.std)
    np.testing.assert_array_equal(np.isnan(by_mask.restored[0]), hidden)


def test_what_is_hidden_does_not_matter(options: RestoreOptions) -> None:
    pixels = smooth(1, 64, 64)
    valid = np.ones((64, 64), bool)
    valid[40:, 40:] = False
    other = np.where(valid, pixels, 3333.0)
    first, second = (imaging.restore(p, "pleiades-raw", mask=valid, options=options) for p in (pixels, other))
    np.testing.assert_array_equal(first.restored, second.restored)


def test_chosen_bands_are_restored_in_their_order(tiny_prior: Path) -> None:
    pixels = smooth(3, 64, 64)
    settings: dict[str, Any] = {"prior": str(tiny_prior), "iterations": 1, "noise": (6.0, 0.09)}
    chosen = imaging.restore(pixels, "generic", options=RestoreOptions(bands=(3, 1), **settings))
    given = imaging.restore(pixels[[2, 0]], "generic", options=RestoreOptions(**settings))
    np.testing.assert_array_equal(chosen.restored, given.restored)


@pytest.mark.parametrize(
    ("pixels", "mask", "sentence"),
    [
        (np.zeros(5), None, r"shape \(5,\) and type float64; accepted are real arrays \(H, W\) or \(C, H, W\)"),
        (np.zeros((1, 1, 8, 8)), None, "accepted are real arrays"),
        (np.zeros((0, 8)), None, "accepted are real arrays"),
        (np.zeros((8, 8), complex), None, "type complex128"),
        (np.zeros((8, 8), bool), None, "type bool"),
        (np.full((8, 8), "a"), None, "type <U1"),
        (np.full((8, 8), np.nan), None, "no valid pixel"),
        (np.ones((8, 8)), np.zeros((8, 8), bool), "no valid pixel"),
        (np.ones((8, 8)), np.ones((7, 8), bool), r"the mask has shape \(7, 8\), the scene \(8, 8\)"),
        (np.ones((8, 8), np.uint8), None, "the scene is 8-bit, sensor pleiades-raw describes 12-bit values"),
        (np.ones((8, 8), np.float32), None, "values end near 1, the noise of sensor pleiades-raw is in stored integers"),
    ],
)
def test_arrays_that_cannot_be_restored_are_refused(options: RestoreOptions, pixels: Values, mask: Values | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        imaging.restore(pixels, "pleiades-raw", mask=mask, options=options)


def test_a_band_that_is_not_there_is_refused(tiny_prior: Path) -> None:
    with pytest.raises(InputError, match="band 2 is not in the scene, which has bands 1 to 1"):
        imaging.restore(smooth(1, 64, 64), "generic", options=RestoreOptions(prior=str(tiny_prior), bands=(2,)))


@pytest.mark.parametrize("value", [-3.4e38, 1e300])
def test_values_that_no_sensor_measures_are_refused(value: float) -> None:
    scene = smooth(1, 48, 48)
    scene[0, 3, 4] = value
    with pytest.raises(InputError, match=r"the scene holds values such as .*, which no sensor measures: declare them as nodata"):
        imaging.restore(scene, "generic", options=RestoreOptions(noise=(2.0, 0.01)))


def with_offset(offset: float, sigma0: float) -> SensorProfile:
    """A sensor of constant noise and a zero signal of its own."""
    profile = load_profile("generic")
    return replace(profile, bands=(replace(profile.bands[0], noise=Noise(sigma0, 0.0, offset)),))


@pytest.mark.parametrize("factor", [1e-3, 1e-6, 1e-12, 1e4])
def test_a_scene_and_its_noise_times_a_factor_give_as_many_times_the_result(factor: float) -> None:
    pixels = smooth(1, 64, 64) / 4095
    whole, scaled = (
        imaging.restore((k * pixels).astype(np.float32), "generic", options=RestoreOptions(noise=(2 * k / 4095, 0.05 * k / 4095)))
        for k in (1.0, factor)
    )
    assert np.abs((scaled.restored / factor - whole.restored) / whole.std).max() < 1e-3
    np.testing.assert_allclose(scaled.std / factor, whole.std, rtol=1e-4)


def test_the_declared_range_of_a_scene_that_hardly_uses_it_does_not_matter() -> None:
    """Noise of 3 DN in 12 of 16 bits is no less than 1e-4 of the range."""
    pixels = smooth(1, 64, 64).astype(np.uint16)
    options = RestoreOptions(noise=(2.0, 0.005))
    wide, narrow = (imaging.restore(pixels, replace(load_profile("generic"), bits=bits), options=options) for bits in (16, 12))
    np.testing.assert_allclose(wide.std, narrow.std, rtol=1e-4)
    assert np.abs((wide.restored - narrow.restored) / narrow.std).max() < 1e-3


def test_a_scene_below_zero_signal_is_refused_until_that_is_given() -> None:
    decibel = (smooth(1, 64, 64) / 100 - 33).astype(np.float32)
    assert -33 < decibel.min() < decibel.max() < 2
    with pytest.raises(InputError, match=r"values of band \* are -21.4 on average, the sensor's zero signal is 0; give .* as offset in"):
        imaging.restore(decibel, "generic", options=RestoreOptions(noise=(0.1, 0.0)))
    given = imaging.restore(decibel, with_offset(-40.0, 0.1))
    shifted = imaging.restore(decibel + 40, "generic", options=RestoreOptions(noise=(0.1, 0.0)))
    np.testing.assert_allclose(given.restored + 40, shifted.restored, atol=1e-3 * shifted.std.mean())
    assert np.sqrt(np.mean((given.restored - decibel) ** 2)) < 10 * given.std.mean()
