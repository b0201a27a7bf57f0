"""Noise of a scene without a known sensor, the profile made of it, and its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter, shift, zoom

from imaging.errors import InputError
from imaging.sensors import (
    Band,
    Mtf,
    Noise,
    NoiseEstimate,
    SensorProfile,
    builtin_sensors,
    estimate_noise,
    estimate_sensor,
    load_profile,
    write_profile,
)
from imaging.sensors.mtf import separable_psf
from tests.scenes import FURTHER, read
from tests.sensors.buildings import noisy, sample, seen, town


def textured(size: int, seed: int, nyquist: float, *, contrast: float = 120.0) -> NDArray[np.float64]:
    """A ramp from 400 to 2600 DN with texture of power 1/f^3.2 of spatially varying strength, blurred."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = np.inf

    def field(power: float) -> NDArray[np.float64]:
        drawn = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * frequency**-power, s=(size, size))
        return np.asarray(drawn / drawn.std())

    x = 400 + 2200 * np.arange(size) / size + contrast * field(1.6) * np.exp(0.8 * field(1.6))
    return np.asarray(convolve(x.clip(50), separable_psf("gaussian", (nyquist, nyquist)), mode="reflect"))


def test_std_at_follows_the_law() -> None:
    estimate = NoiseEstimate(3.0, 0.1, 0.1, 0.01, 100.0, 500.0, 7.0, 0.1, False, 1.0, 1.0, 7.0, True, 99)
    assert estimate.std_at(100.0 + 160.0) == pytest.approx(5.0)
    assert estimate.std_at(0.0) == 3.0


@pytest.mark.parametrize("nyquist", [0.15, 0.3])
@pytest.mark.parametrize(("sigma0", "gain"), [(6.0, 0.09), (3.0, 0.03), (15.0, 0.0), (0.0, 0.2)])
def test_noise_of_a_blurred_textured_scene(sigma0: float, gain: float, nyquist: float) -> None:
    found = estimate_noise(sample(noisy(textured(512, 0, nyquist), 1, sigma0, gain)), 0)
    for level in (600, 1500, 2400):
        assert found.std_at(level) == pytest.approx(np.sqrt(sigma0**2 + gain * level), rel=0.1)
    assert found.std == pytest.approx(found.std_at(found.level))
    assert abs(found.sigma0 - sigma0) <= 3 * found.sigma0_error
    assert abs(found.gain - gain) <= 3 * found.gain_error
    assert found.std_error < 0.1 * found.std
    assert not found.coloured
    assert found.correlation == 1
    assert found.agrees
    assert found.cross_check == pytest.approx(np.sqrt(sigma0**2 + gain * found.level), rel=0.15)
    assert found.notes == ()


def test_standard_errors_cover_what_is_missed() -> None:
    x = textured(256, 3, 0.2)
    found = [estimate_noise(sample(noisy(x, seed)), 0) for seed in range(12)]
    true = np.array([np.sqrt(36 + 0.09 * f.level) for f in found])
    std, error = np.array([f.std for f in found]), np.array([f.std_error for f in found])
    # Gaussian errors miss by more than two standard errors once in twenty times.
    assert (np.abs(std - true) <= 2 * error).sum() >= 10
    assert np.std(std) <= 1.5 * np.mean(error)
    assert np.mean(error) <= 4 * np.std(std)


@pytest.mark.skipif(not (FURTHER / "naip_rgbn_60cm").is_dir(), reason="IMAGING_DATA names no folder with aerial images")
@pytest.mark.parametrize("nyquist", [0.15, 0.3])
@pytest.mark.parametrize("first", [0, 16])
def test_noise_of_blurred_aerial_images(first: int, nyquist: float) -> None:
    paths = sorted((FURTHER / "naip_rgbn_60cm" / "val").glob("*.webp"))[first : first + 8]
    psf = separable_psf("gaussian", (nyquist, nyquist))
    areas = [noisy(convolve(read(p).astype(float).mean(0) * 16, psf, mode="reflect"), k).round().clip(0, 4095) for k, p in enumerate(paths)]
    found = estimate_noise(sample(*areas), 0)
    assert found.std == pytest.approx(np.sqrt(36 + 0.09 * found.level), rel=0.1)
    assert not found.coloured


def test_clipped_and_invalid_pixels_are_left_out() -> None:
    image = noisy(textured(512, 0, 0.2), 1).astype(np.float32)
    image[:200, :200] = 4095.0
    image[300:400, 100:300] = np.nan
    valid = np.ones(image.shape, dtype=bool)
    valid[400:, 300:] = False
    image[400:, 300:] = np.random.default_rng(0).uniform(0, 4000, image[400:, 300:].shape)
    found = estimate_noise([(image[None], valid[None])], 0)
    assert found.std == pytest.approx(np.sqrt(36 + 0.09 * found.level), rel=0.08)


def test_saturated_areas_do_not_count_as_quiet() -> None:
    image = noisy(textured(512, 0, 0.2), 1).clip(0, 1800)
    found = estimate_noise(sample(image), 0)
    assert found.std_at(1700) == pytest.approx(np.sqrt(36 + 0.09 * 1700), rel=0.08)


def test_texture_everywhere_in_a_product_is_said_to_bound_the_noise() -> None:
    rng = np.random.default_rng(0)
    leaves = gaussian_filter(rng.standard_normal((512, 512)), 1.3) * np.exp(12 * gaussian_filter(rng.standard_normal((512, 512)), 12))
    wood = estimate_noise(sample(noisy(1200 + 2500 * leaves, 1, 2.0, 0.0)), 0)
    field = estimate_noise(sample(zoom(noisy(textured(512, 0, 0.2, contrast=20.0), 1), 1.4, order=3, mode="reflect")), 0)
    assert wood.coloured
    assert any("no area is flat enough" in n for n in wood.notes)
    assert wood.std - 3 * wood.std_error < 2.0 < wood.std
    assert field.coloured
    assert not any("no area is flat enough" in n for n in field.notes)


def test_areas_add_up_and_an_offset_of_the_signal_is_taken_off() -> None:
    image = noisy(textured(512, 0, 0.2), 1)
    whole = estimate_noise(sample(image), 0)
    parts = estimate_noise(sample(image[:256], image[256:], image[:4], image[:0]), 0)
    assert (parts.sigma0, parts.gain, parts.blocks) == pytest.approx((whole.sigma0, whole.gain, whole.blocks), rel=1e-6)
    lifted = estimate_noise(sample(image + 1000), 0, offset=1000.0)
    assert (lifted.sigma0, lifted.gain, lifted.level) == pytest.approx((whole.sigma0, whole.gain, whole.level + 1000), rel=1e-3)


def test_one_brightness_cannot_tell_the_two_terms_apart() -> None:
    found = estimate_noise(sample(np.random.default_rng(0).normal(1000, 8, (256, 256))), 0)
    assert found.std == pytest.approx(8, rel=0.06)
    assert (found.sigma0, found.gain) == (found.std, 0)
    assert found.gain_error >= 8**2 / 1000 * 0.9
    assert any("one brightness" in n for n in found.notes)


def test_resampled_noise_is_found_coloured_and_its_power_is_restored() -> None:
    sigma, x = 12.0, textured(512, 0, 0.2, contrast=20.0)
    y = noisy(x, 1, sigma, 0.0)
    a, b = 0.4, 0.3
    resampled = estimate_noise(sample(shift(y, (a, b), order=1, mode="reflect")), 0)
    assert resampled.coloured
    assert resampled.ratio < 0.6
    # Bilinear weights: each axis leaves (1 - a)^2 + a^2 of the variance of a pixel, and all of the power at low frequency.
    std = sigma * np.sqrt(((1 - a) ** 2 + a**2) * ((1 - b) ** 2 + b**2))
    assert resampled.std == pytest.approx(std, rel=0.2)
    assert 1 < resampled.correlation < 1.3 * sigma**2 / std**2
    enlarged = estimate_noise(sample(zoom(y, 1.4, order=3, mode="reflect")), 0)
    assert enlarged.coloured
    # The same noise power on 1.4 squared as many pixels has that much more density.
    assert np.sqrt(enlarged.correlation) * enlarged.std == pytest.approx(1.4 * sigma, rel=0.3)
    assert any("coloured" in n for n in enlarged.notes)


@pytest.mark.parametrize("image", [np.full((256, 256), 9.0), np.random.default_rng(0).normal(50, 9, (40, 40)), np.zeros((4, 4))])
def test_scenes_without_measurable_noise_are_refused(image: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match="give --noise SIGMA0,GAIN"):
        estimate_noise(sample(image), 0)


@pytest.fixture(scope="module")
def two_bands() -> NDArray[np.float64]:
    drawing = town(192, 0)
    return np.stack([noisy(seen(drawing, 0.2, 0.2), 1), noisy(seen(drawing, 0.3, 0.3), 2, sigma0=12, gain=0.02)])


def test_a_sensor_is_estimated_band_by_band_and_survives_its_file(two_bands: NDArray[np.float64], tmp_path: Path) -> None:
    profile, report = estimate_sensor(sample(two_bands), (None, "nir"), 12, gsd=0.7, title='a "test"')
    assert (profile.state, profile.bits, profile.title) == ("raw", 12, 'a "test"')
    assert [(b.name, b.common_name, b.gsd) for b in profile.bands] == [("B1", None, 0.7), ("nir", "nir", 0.7)]
    for band, nyquist, sigma0, gain in zip(profile.bands, (0.2, 0.3), (6, 12), (0.09, 0.02), strict=True):
        assert band.mtf.nyquist == pytest.approx((nyquist, nyquist), rel=0.1)
        assert band.noise is not None
        assert np.sqrt(band.noise.sigma0**2 + band.noise.gain * 800) == pytest.approx(np.sqrt(sigma0**2 + gain * 800), rel=0.1)
        assert "estimated from the scene: sigma0" in band.noise.source
        assert "slanted edges, +- " in band.mtf.source
    assert [line.split(" ")[1] for line in report] == ["noise", "MTF"] * 2
    assert all("+-" in line for line in report)
    write_profile(profile, tmp_path / "new.toml")
    assert load_profile(tmp_path / "new.toml") == profile


def test_a_given_mtf_is_kept_and_edges_are_not_needed() -> None:
    image = noisy(textured(256, 0, 0.2), 1)
    profile, report = estimate_sensor(sample(image), ("PAN",), 12, mtf_nyquist=0.12)
    assert profile.bands[0].mtf == Mtf("gaussian", (0.12, 0.12), source="given by the user")
    assert report[1] == "PAN: MTF at Nyquist 0.12, given by the user"
    with pytest.raises(InputError, match="give --mtf-nyquist"):
        estimate_sensor(sample(image), ("PAN",), 12)


def test_a_band_without_edges_takes_the_mtf_of_another(two_bands: NDArray[np.float64]) -> None:
    flat = np.stack([noisy(textured(192, 0, 0.2), 1), two_bands[0]])
    profile, report = estimate_sensor(sample(flat), ("A", "B"), 12)
    assert profile.bands[0].mtf.nyquist == profile.bands[1].mtf.nyquist
    assert "taken from band B" in profile.bands[0].mtf.source
    assert "A: warning: MTF taken from band B: too few edges in this band" in report


def test_coloured_noise_makes_a_product_of_larger_variance() -> None:
    areas = sample(shift(noisy(textured(512, 0, 0.2, contrast=20.0), 1), (0.4, 0.4), order=1, mode="reflect"))
    estimate = estimate_noise(areas, 0)
    profile, report = estimate_sensor(areas, ("PAN",), 12, mtf_nyquist=0.2)
    noise = profile.bands[0].noise
    assert profile.state == "product"
    assert profile.bands[0].mtf.target == 0.35, "as the profile of a product with this MTF has it"
    assert "a delivered product" in report[-1]
    assert noise is not None
    assert estimate.correlation > 1.2
    assert noise.sigma0**2 + noise.gain * 1500 == pytest.approx(estimate.correlation * estimate.std_at(1500) ** 2, rel=2e-3)
    assert "times that, because neighbouring pixels share noise" in noise.source
    assert any("warning: the noise is coloured" in line for line in report)


def test_band_names_are_made_different() -> None:
    image = np.random.default_rng(0).normal(1000, 8, (4, 128, 128))
    profile, _ = estimate_sensor(sample(image), ("b2", None, " ", "B2"), 12, mtf_nyquist=0.2)
    assert [b.name for b in profile.bands] == ["b2", "B2_", "B3", "B2__"]


@pytest.mark.parametrize(
    ("names", "bits", "change", "message"),
    [
        (("A",), 12, {"mtf_nyquist": 0.95}, "MTF at Nyquist is 0.95"),
        (("A",), 17, {}, "number of bits is 17"),
        (("A",), 12, {"gsd": 0.0}, "ground sample distance is 0"),
        (("A", "B"), 12, {}, "2 band names were given for areas of 1 bands"),
        (("A",), 12, {"mtf_nyquist": 0.2}, "band A: noise cannot be estimated"),
    ],
)
def test_what_cannot_be_used_is_refused(names: tuple[str, ...], bits: int, change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate_sensor(sample(np.zeros((40, 40))), names, bits, **change)


@pytest.mark.parametrize("name", builtin_sensors())
def test_profiles_that_come_with_the_package_survive_their_file(name: str, tmp_path: Path) -> None:
    write_profile(load_profile(name), tmp_path / "copy.toml")
    assert load_profile(tmp_path / "copy.toml") == load_profile(name)
    assert [p.name for p in tmp_path.iterdir()] == ["copy.toml"]


def test_any_text_and_number_survives_the_file(tmp_path: Path) -> None:
    odd = 'quote " back\\slash \n line \t tab \x00\x1f\x7f é 卫星 # [x] = """'
    band = Band(odd, 1 / 3, Mtf("exponential", (0.1, 1e-7), 0.3, None, odd), Noise(1e-12, 123456.789, -1000.0, odd), odd, "red")
    profile = SensorProfile(odd, "raw", 16, (band, Band("bare", 1e6, Mtf("gaussian", (0.2, 0.3)), None)), odd, odd)
    write_profile(profile, tmp_path / "odd.toml")
    assert load_profile(tmp_path / "odd.toml") == profile
    assert (tmp_path / "odd.toml").read_text(encoding="utf-8").splitlines()[1].startswith("# MTF: [across track, along track]")


def test_a_psf_from_a_file_and_a_place_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    profile = load_profile("pleiades")
    (tmp_path / "taken.toml").mkdir()
    for path in (tmp_path / "taken.toml", tmp_path / "missing" / "new.toml"):
        with pytest.raises(InputError, match="cannot be written"):
            write_profile(profile, path)
    band = replace(profile.bands[0], mtf=Mtf("file", (0.2, 0.2), kernel=separable_psf("gaussian", (0.2, 0.2))))
    (tmp_path / "old.toml").write_text("old")
    with pytest.raises(InputError, match="band PAN has its PSF from a file"):
        write_profile(replace(profile, bands=(band,)), tmp_path / "old.toml")
    assert (tmp_path / "old.toml").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.toml", "taken.toml"]


@pytest.mark.skipif(not (FURTHER / "pleiades_real").is_dir(), reason="IMAGING_DATA names no folder with a Pleiades product")
def test_a_real_pleiades_product_is_found_resampled() -> None:
    image = read(FURTHER / "pleiades_real" / "toulouse_pan.tif").astype(np.float64)
    found = estimate_noise(sample(image), 0)
    # The flattest patches of this scene have 2.5 to 4 DN near DN 230; every pixel was interpolated from 0.7 m to 0.5 m.
    assert found.coloured
    assert found.correlation > 1.5
    assert 2.5 - 2 * found.std_error < found.std_at(230) < 4 + 2 * found.std_error
