"""Bundles are fused to where and what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.restoration import FuseOptions
from imaging.restoration.fusing import Fusion
from imaging.sensors import Band, Noise
from tests.restoration.bundles import INNER, PROFILE, WEIGHTS, Bundle, covered, off, rmse
from tests.scenes import listing, read

GAUSSIAN = FuseOptions(method="gaussian")
Stored = NDArray[np.float64]


@pytest.mark.parametrize(
    "bundle",
    [
        Bundle(),
        Bundle(shift=(1.3, -0.6)),
        Bundle(shift=(-1.9, 1.7)),
        Bundle(ms_cut=(3, 2)),
        Bundle(pan_cut=(5, 6)),
        Bundle(pan_cut=(8, 0), ms_cut=(0, 3), shift=(0.7, 0.2)),
        Bundle(ends=(3, 2)),
        Bundle(ratio=3, size=(162, 165), shift=(0.4, -0.2)),
        Bundle(ratio=2, ends=(1, 1)),
    ],
)
def test_scenes_are_fused_to_where_they_are(tmp_path: Path, bundle: Bundle) -> None:
    """Wherever one grid lies on the other; the error is small against the scene's contrast, and its deviation holds."""
    made = bundle.write(tmp_path)
    result, fused, std = made.fuse(pan_shift="none")
    assert fused.shape == std.shape == made.truth.shape
    assert off(fused, made.truth) == pytest.approx((0, 0), abs=0.02)
    known = np.isfinite(std)
    r, (top, left), (i, j) = bundle.ratio, bundle.pan_cut, bundle.ms_cut
    beyond = np.s_[: max(0, r * i - top), :], np.s_[:, : max(0, r * j - left)]
    for part in beyond if not any(bundle.shift) else ():  # where there is no multispectral pixel, there is nothing
        assert not known[0][part].any()
        assert not fused[0][part].any()
    inside = (slice(None), slice(max(0, r * i - top) + 2, -2), slice(max(0, r * j - left) + 2, -2))
    assert known[inside].all()
    error = rmse(fused, made.truth)
    assert error < 0.08 * float(made.truth.std(axis=(1, 2)).mean())
    assert covered(fused, std, made.truth) > 0.9  # blobs are smoother than scenes are, so that the Gaussian expects too much
    assert float(np.mean(std[INNER])) < 2.5 * error
    with rasterio.open(result.restored) as source, rasterio.open(made.pan) as pan:
        assert source.transform == pan.transform


@pytest.mark.parametrize(
    ("chosen", "expected"), [("auto", (0.0, 0.0)), ("none", (-0.5, 0.3)), ((0.5, -0.3), (0.0, 0.0)), ([0.2, -0.3], (-0.3, 0.0))]
)
def test_a_grid_that_is_off_is_found_or_left_or_told(tmp_path: Path, chosen: Any, expected: tuple[float, float]) -> None:
    """The multispectral grid lies half a pixel to the right of where the file says, and 0.3 higher."""
    made = Bundle(shift=(0.5, -0.3), told=(0.0, 0.0)).write(tmp_path)
    result, fused, _ = made.fuse(pan_shift=chosen)
    place = off(fused, made.truth)
    assert place == pytest.approx(expected, abs=0.05 if expected == (0.0, 0.0) else 0.1)
    told = {"auto": (0.5, -0.3), "none": (0.0, 0.0)}.get(chosen, chosen) if isinstance(chosen, str) else chosen
    assert result.pan_shift == pytest.approx(told, abs=0.02 if chosen == "auto" else 0)
    assert any("shift of the multispectral grid" in n for n in result.notes) == isinstance(chosen, str)


def test_a_grid_more_than_a_multispectral_pixel_off_is_searched_for(tmp_path: Path) -> None:
    made = Bundle(shift=(5.0, -7.0), told=(0.0, 0.0)).write(tmp_path)
    result, fused, _ = made.fuse()
    assert result.pan_shift == pytest.approx((5, -7), abs=0.02)
    assert off(fused, made.truth) == pytest.approx((0, 0), abs=0.02)


def test_weights_are_found_and_wrong_ones_cost_little(tmp_path: Path) -> None:
    made = Bundle().write(tmp_path)
    found, fused, _ = made.fuse()
    assert found.pan_weights == pytest.approx(WEIGHTS, abs=0.02)
    wrong = tuple(w * f for w, f in zip(WEIGHTS, (1.2, 0.8, 1.2, 0.8), strict=True))
    told, other, std = made.fuse(pan_weights=wrong)
    gain = np.array(told.pan_weights) / wrong
    assert np.ptp(gain) < 0.002  # as given, up to a gain
    errors = [rmse(f, made.truth) for f in (fused, other)]
    assert errors[0] <= errors[1] * 1.001
    assert errors[1] < 1.05 * errors[0]
    assert covered(other, std, made.truth) > 0.9


def test_what_the_panchromatic_band_sees_beyond_the_others_makes_it_less_sure(tmp_path: Path) -> None:
    made = Bundle(beyond=150.0).write(tmp_path)
    _, fused, std = made.fuse()
    (tmp_path / "plain").mkdir()
    _, _, plain = Bundle().write(tmp_path / "plain").fuse()
    assert float(np.mean(std)) > 1.2 * float(np.mean(plain))
    assert covered(fused, std, made.truth) > 0.9


HOLES = (np.s_[:, 40:60, 70:100], np.s_[:, 80:96, 20:36], np.s_[2, 120:124, 120:124])


def torn(pan: Stored, ms: Stored) -> None:
    """Nothing at a place of the panchromatic scene, of the multispectral one, and of one band alone."""
    pan[:, 40:60, 70:100] = 0
    ms[:, 20:24, 5:9] = 0
    ms[2, 30, 30] = 0


def test_what_either_lacks_is_missing_and_spoils_nothing_around(tmp_path: Path) -> None:
    made = Bundle().write(tmp_path, change=torn, nodata=0)
    _, fused, std = made.fuse()
    missing = np.zeros(fused.shape, bool)
    for hole in HOLES:
        missing[hole] = True
    np.testing.assert_array_equal(np.isnan(std), missing)
    np.testing.assert_array_equal(fused == 0, missing)
    around = np.zeros_like(missing)
    around[:, 32:68, 62:108] = around[:, 72:104, 12:44] = True
    around &= ~missing
    error, deviation = (fused - made.truth)[around], std[around]
    assert float(np.mean((error / deviation) ** 2)) < 1.3
    assert float(np.abs(error / deviation).max()) < 6


def test_stored_masks_and_alpha_count_as_nodata_does(tmp_path: Path) -> None:
    made = Bundle().write(tmp_path)
    valid = np.full((40, 40), 255, np.uint8)
    valid[10:14, 20:25] = 0
    with rasterio.open(made.ms, "r+") as target:
        target.write_mask(valid)
    _, fused, std = made.fuse()
    expected = np.repeat(np.repeat(valid == 0, 4, 0), 4, 1)
    np.testing.assert_array_equal(np.isnan(std), np.broadcast_to(expected, std.shape))
    assert rmse(fused, made.truth, np.s_[:, 16:36, 16:-16]) < 25


def saturated(pan: Stored, ms: Stored) -> None:
    """Highlights that were clipped in one of both scenes."""
    pan[:, 60:84, 60:90] = 4095
    pan[:, 20, 30] = 4095
    ms[1:3, 25:28, 25:28] = 4095


def test_saturated_pixels_say_nothing_but_are_shown(tmp_path: Path) -> None:
    """The other scene tells what is there, and deviations know that it alone does."""
    made = Bundle().write(tmp_path, change=saturated)
    _, fused, std = made.fuse()
    assert np.isfinite(std).all()
    for hole in (np.s_[:, 60:84, 60:90], np.s_[1:3, 100:112, 100:112]):
        z = (fused - made.truth)[hole] / std[hole]
        assert float(np.mean(z**2)) < 1.5
        assert float(np.mean(std[hole])) > 1.5 * float(np.mean(std))
    assert rmse(fused, made.truth, np.s_[:, 60:84, 60:90]) < 60  # against 2700 if it were taken for a measurement


def test_reflectances_are_fused_like_integers(tmp_path: Path) -> None:
    """Values and noise over 10000: everything is as many times smaller."""
    whole = Bundle().write(tmp_path, dtype="float32")
    _, fused, std = whole.fuse()

    def scaled(band: Band) -> Band:
        assert band.noise is not None
        return replace(band, noise=Noise(band.noise.sigma0 / 1e4, band.noise.gain / 1e4))

    def divide(pan: Stored, ms: Stored) -> None:
        pan /= 1e4
        ms /= 1e4

    (tmp_path / "small").mkdir()
    made = Bundle().write(tmp_path / "small", dtype="float32", change=divide)
    sensor = replace(PROFILE, bands=tuple(map(scaled, PROFILE.bands)))
    _, other, deviation = made.fuse(sensor=sensor)
    assert float(np.abs((1e4 * other - fused) / std).max()) < 0.02
    np.testing.assert_allclose(1e4 * deviation, std, rtol=1e-3)


def test_tiles_do_not_show(tmp_path: Path) -> None:
    """Two plans agree to three hundredths of a deviation everywhere, and to one on the whole."""
    made = Bundle(size=(288, 128), shift=(0.5, -0.3)).write(tmp_path, dtype="float32", change=torn, nodata=0)
    _, whole, std = made.fuse()
    _, tiled, other = made.fuse(tile=64)
    change = np.abs(tiled - whole) / std
    assert float(np.nanmax(change)) < 0.03
    assert float(np.sqrt(np.nanmean(change**2))) < 0.01
    np.testing.assert_allclose(other, std, rtol=2e-3)


def test_a_run_is_taken_over_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Bundle(size=(288, 128)).write(tmp_path)
    settings: dict[str, Any] = {"tile": 64, "halo": 16, "samples": 1, "save_samples": tmp_path / "samples"}
    (tmp_path / "samples").mkdir()
    made.fuse(**settings)
    outputs = {k: v for k, v in listing(tmp_path).items() if "restored" in k or "std" in k or "sample" in k}
    for name in outputs:
        if (tmp_path / name).is_file():
            (tmp_path / name).unlink()
    original, calls = Fusion.work, list[int]()

    def work(self: Fusion, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Fusion, "work", work)
    with pytest.raises(KeyboardInterrupt):
        made.fuse(**settings, resume=True)
    done = len(calls) - 1
    made.fuse(**settings, resume=True)
    assert done == 3
    with rasterio.open(made.pan) as source:
        assert len(calls) - 4 < source.width * source.height / 64**2
    again = {k: v for k, v in listing(tmp_path).items() if k in outputs}
    assert again == outputs


def test_samples_are_of_the_posterior(tmp_path: Path) -> None:
    """Their mean and spread are those that are written, up to the chance of so few."""
    made = Bundle().write(tmp_path)
    (tmp_path / "samples").mkdir()
    result, fused, std = made.fuse(samples=12, save_samples=tmp_path / "samples")
    drawn = np.stack([read(p) for p in sorted((tmp_path / "samples").glob("*.tif"))]).astype(float)
    assert drawn.shape == (12, *fused.shape)
    assert float((((drawn.mean(0) - fused) / std) ** 2).mean()) == pytest.approx(1 / 12, rel=0.15)
    assert float((drawn.var(0, ddof=1) / std**2).mean()) == pytest.approx(1, abs=0.05)
    assert result.method == "gaussian"


def test_two_moments_are_refused(tmp_path: Path) -> None:
    made = Bundle().write(tmp_path)
    for path, moment in ((made.ms, "2024-05-01 10:30:00"), (made.pan, "2024-05-01 10:45:00")):
        with rasterio.open(path, "r+") as target:
            target.update_tags(ns="IMAGERY", ACQUISITIONDATETIME=moment)
    before = listing(tmp_path)
    with pytest.raises(InputError, match="of one moment"):
        made.fuse()
    assert listing(tmp_path) == before
    with rasterio.open(made.pan, "r+") as target:
        target.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2024-05-01 10:30:04")
    made.fuse()


def unrelated(pan: Stored, ms: Stored) -> None:
    """Another place."""
    pan[:] = pan[:, ::-1, ::-1].copy()


def empty(pan: Stored, ms: Stored) -> None:
    """No pixel in common."""
    pan[:, :80] = 0
    ms[:, 20:] = 0


@pytest.mark.parametrize(
    ("bundle", "change", "settings", "words"),
    [
        (Bundle(), unrelated, {}, "does not match the multispectral bands: they leave"),
        (Bundle(), unrelated, {"pan_shift": "none"}, "does not match the multispectral bands: they leave"),
        (Bundle(shift=(9.0, 2.0), told=(0.0, 0.0)), None, {}, r"lies 2\.\d multispectral pixels off; up to 2 are taken"),
        (Bundle(), None, {"pan_weights": (0.5, 0.5)}, "2 weights of the panchromatic band for 4 bands; give one for each"),
        (Bundle(), empty, {}, "no valid pixel in common"),
        (Bundle(), None, {"bands": (1, 5)}, "band 5 of .* is not there"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_refused(tmp_path: Path, bundle: Bundle, change: Any, settings: dict[str, Any], words: str) -> None:
    made = bundle.write(tmp_path, change=change, nodata=0)
    before = listing(tmp_path)
    with pytest.raises(InputError, match=words):
        made.fuse(**settings)
    assert listing(tmp_path) == before


def test_types_that_differ_are_refused(tmp_path: Path) -> None:
    made = Bundle().write(tmp_path)
    (tmp_path / "float").mkdir()
    other = Bundle().write(tmp_path / "float", dtype="float32")
    with pytest.raises(InputError, match="the panchromatic band is float32, the multispectral bands are uint16"):
        replace(made, pan=other.pan).fuse()
