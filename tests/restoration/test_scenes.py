"""Restored files: which pixels change, and on what they do not depend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from imaging.errors import InputError
from imaging.raster import Scene
from tests.scenes import fit, read, smooth, write_scene


def outputs(result: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return read(Path(result.restored)), read(Path(result.std))


def test_nan_stays_nan_and_its_surroundings_are_restored(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = (smooth(1, 80, 70) / 4095).astype(np.float32)
    pixels[0, 10:20, 30:40] = np.nan
    pixels[0, 0, 0] = np.nan
    restored, std = outputs(fit(write_scene(tmp_path / "scene.tif", pixels), tiny_prior, noise=(0.002, 1e-5)))
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(restored), np.isnan(pixels))
    np.testing.assert_array_equal(np.isnan(std), np.isnan(pixels))
    assert (std[np.isfinite(pixels)] > 0).all()
    good = np.isfinite(pixels)
    assert np.corrcoef(restored[good], pixels[good])[0, 1] > 0.9
    assert not np.array_equal(restored[good], pixels[good])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (1, 90), (65, 2)])
def test_tiny_scenes_are_restored(tmp_path: Path, tiny_prior: Path, height: int, width: int) -> None:
    pixels = smooth(1, height, width).astype(np.uint16)
    restored, std = outputs(fit(write_scene(tmp_path / "scene.tif", pixels), tiny_prior))
    assert restored.shape == std.shape == pixels.shape
    assert np.isfinite(std).all()
    assert (abs(restored.astype(float) - pixels) < 10 * std).all()


@pytest.mark.parametrize(("dtype", "nodata", "shift"), [("uint16", 1200, 0), ("int16", -32768, -1200), ("int16", -7, -1200)])
def test_nodata_keeps_its_value_and_no_valid_pixel_takes_it(tmp_path: Path, tiny_prior: Path, dtype: str, nodata: int, shift: int) -> None:
    pixels = (1200 + (smooth(1, 80, 80) - 1200) / 40 + shift).astype(dtype)  # near the nodata value, so that rounding meets it
    pixels[0, 20:40, :9] = nodata
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=nodata)
    restored, std = outputs(fit(scene, tiny_prior, noise=(6.0, 0.0)))
    invalid = pixels == nodata
    np.testing.assert_array_equal(restored == nodata, invalid)
    np.testing.assert_array_equal(np.isnan(std), invalid)
    if nodata != -32768:
        assert (abs(restored.astype(int) - nodata) == 1).any(), "values beside nodata are met, so the check above can fail"


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_is_copied_and_stays_alpha(tmp_path: Path, tiny_prior: Path, dtype: str) -> None:
    largest = np.iinfo(dtype).max
    pixels = (smooth(4, 64, 64) / 4095 * 200).astype(dtype)
    pixels[3] = np.random.default_rng(1).integers(0, 3, (64, 64)) * (largest // 2)
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="rgb", alpha="YES")
    result = fit(scene, tiny_prior, sensor="generic", noise=(2.0, 0.0))
    restored, std = outputs(result)
    np.testing.assert_array_equal(restored[3], pixels[3])
    assert std.shape[0] == 3
    hidden = np.broadcast_to(pixels[3] == 0, std.shape)
    np.testing.assert_array_equal(np.isnan(std), hidden)
    np.testing.assert_array_equal(restored[:3][hidden], pixels[:3][hidden])
    assert (restored[:3] != pixels[:3]).any()
    with rasterio.open(scene) as source, rasterio.open(result.restored) as target:
        assert source.colorinterp == target.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)


def test_a_stored_mask_is_kept_in_both_outputs(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(1, 100, 64).astype(np.uint16)
    mask = np.full((100, 64), 255, np.uint8)
    mask[30:50, 5:25] = 0
    scene = write_scene(tmp_path / "scene.tif", pixels)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(scene, "r+") as target:
        target.write_mask(mask)
    result = fit(scene, tiny_prior)
    for path in (result.restored, str(result.std)):
        with rasterio.open(path) as out:
            np.testing.assert_array_equal(out.read_masks(1), mask)
        assert not Path(f"{path}.msk").exists()
    np.testing.assert_array_equal(read(Path(result.restored))[0][mask == 0], pixels[0][mask == 0])


def test_a_scene_with_an_empty_tile_is_restored(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(1, 64, 320).astype(np.uint16)
    pixels[:, :, 70:] = 0
    restored, std = outputs(fit(write_scene(tmp_path / "scene.tif", pixels, nodata=0), tiny_prior))
    np.testing.assert_array_equal(np.isnan(std), pixels == 0)
    np.testing.assert_array_equal(restored == 0, pixels == 0)


def test_one_band_is_chosen(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(3, 64, 64).astype(np.uint16)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    result = fit(scene, tiny_prior, sensor="generic", noise=(6.0, 0.09), bands=(2,))
    alone = fit(write_scene(tmp_path / "alone.tif", pixels[1:2]), tiny_prior, sensor="generic", noise=(6.0, 0.09))
    np.testing.assert_array_equal(read(Path(result.restored)), read(Path(alone.restored)))


@pytest.mark.parametrize(("sensor", "bands"), [("naip", 4), ("generic", 1)])
def test_8_bit_scenes_are_restored(tmp_path: Path, tiny_prior: Path, sensor: str, bands: int) -> None:
    pixels = (smooth(bands, 80, 80) / 16).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="MINISBLACK", alpha="NO")
    restored, std = outputs(fit(scene, tiny_prior, sensor=sensor))
    assert restored.dtype == np.uint8
    assert restored.shape == std.shape == pixels.shape
    assert 0 < np.median(std) < 30


def test_values_stay_in_the_range_of_the_sensor_and_the_type(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = np.where(np.indices((1, 64, 64)).sum(0) // 3 % 2, 0, 4095).astype(np.uint16)  # sharpening overshoots on both sides
    pixels[0, :8, :8] = 5000
    restored, _ = outputs(fit(write_scene(tmp_path / "scene.tif", pixels), tiny_prior, mtf_nyquist=0.1))
    assert restored[pixels <= 4095].max() == 4095
    assert restored.max() <= 5000


def test_the_same_command_gives_the_same_bytes(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(2, 64, 96).astype(np.uint16))
    runs = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        result = fit(scene, tiny_prior, sensor="generic", noise=(6.0, 0.09), seed=seed, output=tmp_path / f"{name}.tif")
        runs.append((Path(result.restored).read_bytes(), Path(str(result.std)).read_bytes()))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert runs[0][1] != runs[2][1]


def test_tiles_and_batches_do_not_show(tmp_path: Path, tiny_prior: Path) -> None:
    """Random draws belong to positions and the halo covers what a tile sees, so plans differ by rounding in the networks only.

    A hundredth of a standard deviation is far below what anybody could see; draws that depended on the tile, or tiles without a halo, would
    differ by more than a tenth.
    """
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 200, 150).astype(np.float32))
    plans = {"small": {"tile": 64}, "other": {"tile": 96}, "large": {"tile": 128}, "batched": {"tile": 64, "batch": 3}}
    found = {k: outputs(fit(scene, tiny_prior, output=tmp_path / f"{k}.tif", halo=32, **v)) for k, v in plans.items()}
    restored, std = found["small"]
    assert (abs(restored - read(scene)) > 0.1 * std).mean() > 0.5, "there is something to agree on"
    for other in ("other", "large", "batched"):
        assert (abs(found[other][0] - restored) < 0.01 * std).all()
        assert (abs(found[other][1] - std) < 0.01 * std).all()


def test_samples_spread_around_the_mean_by_the_standard_deviation(tmp_path: Path, tiny_prior: Path) -> None:
    """The mean square of (sample - mean) / std over 6400 pixels is 1 within 25 %; found is 1 within 2 %."""
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 80, 80).astype(np.uint16))
    (tmp_path / "samples").mkdir()
    restored, std = outputs(fit(scene, tiny_prior, samples=2, folder=tmp_path / "samples"))
    paths = sorted((tmp_path / "samples").iterdir())
    assert [p.name for p in paths] == ["scene_sample_000.tif", "scene_sample_001.tif"]
    drawn = [read(p).astype(float) for p in paths]
    for path, sample in zip(paths, drawn, strict=True):
        assert 0.75 < (((sample - restored) / std) ** 2).mean() < 1.25
        with rasterio.open(path) as out, rasterio.open(scene) as source:
            assert (out.crs, out.transform, out.dtypes) == (source.crs, source.transform, source.dtypes)
            assert out.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    between = ((drawn[0] - drawn[1]) ** 2).mean() / (std**2).mean()
    assert 1.5 < between < 2.5, "independent samples differ by twice the variance"


@pytest.mark.parametrize("method", ["vble", "map"])
def test_other_methods_restore_the_same_scene(tmp_path: Path, tiny_prior: Path, method: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).astype(np.uint16))
    reference, std = outputs(fit(scene, tiny_prior, output=tmp_path / "xz.tif"))
    restored, other = outputs(fit(scene, tiny_prior, output=tmp_path / "other.tif", method=method))
    assert (abs(restored.astype(float) - reference) < 3 * std).mean() > 0.99
    assert (other <= 1.01 * std).mean() > 0.99, "each leaves a part of the variance out"


def test_progress_runs_from_the_first_iteration_to_the_last(tmp_path: Path, tiny_prior: Path) -> None:
    from imaging.restoration import RestoreOptions, restore_scene

    seen: list[tuple[int, int]] = []
    scene = write_scene(tmp_path / "scene.tif", smooth(2, 64, 128).astype(np.uint16))
    options = RestoreOptions(prior=str(tiny_prior), iterations=2, tile=64, halo=16, noise=(6.0, 0.09))
    restore_scene(scene, "generic", options=options, progress=lambda done, total: seen.append((done, total)))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert {t for _, t in seen} == {done[-1]}
    assert done[0] > 0
    assert max(np.diff(done)) <= done[-1] / 4, "four fits of equal length: no jump is longer than one of them"


def test_outputs_that_are_parts_of_the_input_are_refused(tmp_path: Path, tiny_prior: Path) -> None:
    plain = write_scene(tmp_path / "plain.tif", smooth(1, 64, 64).astype(np.uint16))
    before = plain.read_bytes()
    rasterio.shutil.copy(plain, tmp_path / "scene.vrt", driver="VRT")
    with Scene(tmp_path / "scene.vrt") as scene:
        assert plain in scene.files
    with pytest.raises(InputError, match=r"the output .*plain.tif is a part of the input .*scene.vrt"):
        fit(tmp_path / "scene.vrt", tiny_prior, output=plain, overwrite=True)
    assert plain.read_bytes() == before


def test_outputs_in_several_folders_leave_nothing_else_behind(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).astype(np.uint16))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    fit(scene, tiny_prior, output=tmp_path / "a" / "r.tif", std=tmp_path / "b" / "s.tif", samples=1, folder=tmp_path / "c")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"scene.tif", "a/r.tif", "b/s.tif", "b/s.qml", "c/r_sample_000.tif"}
    assert {p.name for p in tmp_path.rglob("*") if p.is_dir()} == {"a", "b", "c"}
