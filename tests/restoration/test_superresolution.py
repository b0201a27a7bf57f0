"""Scenes restored onto a grid of half the ground sample distance: where pixels lie, and that tiles do not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

import imaging
from imaging.errors import InputError
from imaging.raster import Area, Magnified, Scene
from imaging.restoration import RestoreOptions
from imaging.sensors import Band, Mtf, Noise, SensorProfile, sensor_physics
from tests.scenes import GCPS, RATIONAL, ROTATED, UTM, fit, read, smooth, write_scene

SENSOR = SensorProfile("sharp", "raw", 12, (Band("PAN", 0.7, Mtf("gaussian", (0.3, 0.3)), Noise(4.0, 0.0)),))


def measured(truth: NDArray[Any]) -> NDArray[np.uint16]:
    """What the sensor sees of a scene ``(1, 2 H, 2 W)`` in DN, mirrored beyond its borders."""
    physics = sensor_physics(SENSOR.bands, 4095.0, None, 2)
    m = physics.margin
    wide = np.pad(truth, ((0, 0), (m, m), (m, m)), mode="symmetric")
    y = physics(torch.from_numpy(wide / 4095.0).float()[None], seed=0)[0].numpy() * 4095
    return np.rint(y).clip(0, 4095).astype(np.uint16)


def test_detail_beyond_the_measured_grid_comes_back() -> None:
    rng = np.random.default_rng(0)
    truth = np.clip(1500 + 9000 * gaussian_filter(rng.standard_normal((1, 192, 192)), (0, 3, 3)), 100, 4000)
    y = measured(truth)
    restored, std, samples = imaging.restore(y, SENSOR, options=RestoreOptions(scale=2, samples=2, prior="pan"))
    assert restored.shape == std.shape == truth.shape
    assert samples.shape == (2, *truth.shape)
    repeated = y.repeat(2, 1).repeat(2, 2)
    inner = (..., slice(8, -8), slice(8, -8))
    error, plain = (float(np.sqrt(np.mean((x - truth)[inner] ** 2))) for x in (restored, repeated))
    assert error < 0.3 * plain
    z = (restored - truth)[inner] / std[inner]
    assert 0.3 < float(np.sqrt(np.mean(z**2))) < 1.7


def test_a_restored_spot_lies_where_it_is_on_the_ground(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:192, :192]
    place = (101.3, 88.8)
    truth = 400 + 2500 * np.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / (2 * 3.0**2))[None]
    scene = write_scene(tmp_path / "scene.tif", measured(truth))
    result = fit(scene, Path("pan"), sensor=SENSOR, scale=2, iterations=12, tile=512, halo=192)
    with rasterio.open(result.restored) as found, rasterio.open(scene) as before:
        assert (found.width, found.height) == (2 * before.width, 2 * before.height) == (result.width, result.height)
        assert found.bounds == before.bounds
        assert found.transform.a == before.transform.a / 2
        weight = (found.read(1).astype(float) - 400 - 60).clip(0)
        row, column = (float((weight * grid).sum() / weight.sum()) for grid in (rows, columns))
        x, y = found.transform @ (column + 0.5, row + 0.5)
        expected = before.transform @ ((place[1] + 0.5) / 2, (place[0] + 0.5) / 2)
    # A hundredth of a measured pixel of 0.5 m.
    assert np.hypot(x - expected[0], y - expected[1]) < 0.005


def test_tiles_do_not_show(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", (smooth(1, 150, 170) / 4095).astype(np.float32))
    found = {}
    for tile in (64, 512):
        result = fit(
            scene, tiny_prior, scale=2, tile=tile, halo=128, noise=(0.003, 0.0), samples=1, folder=tmp_path,
            output=tmp_path / f"{tile}_restored.tif",
        )  # fmt: skip
        found[tile] = [read(Path(result.restored)), read(Path(str(result.std))), read(tmp_path / f"{tile}_sample_000.tif")]
    std = found[512][1]
    for one, other in zip(found[64], found[512], strict=True):
        assert np.mean(np.abs(one - other) <= 0.005 * std) > 0.999


def test_coefficients_count_from_the_centre_of_the_first_pixel(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 40, 64).astype(np.uint16), crs=None, transform=None, rpcs=RATIONAL)
    result = fit(scene, tiny_prior, scale=2)
    for path in (result.restored, str(result.std)):
        with rasterio.open(path) as found:
            rpcs = found.rpcs
        # The centre of stored pixel p lies at 2 p + 1/2 on the finer grid.
        assert (rpcs.line_off, rpcs.samp_off) == (2 * 30.0 + 0.5, 2 * 32.0 + 0.5)
        assert (rpcs.line_scale, rpcs.samp_scale) == (63.0, 64.0)
        assert (rpcs.lat_off, rpcs.err_bias) == (43.5, 1.0)
        assert rpcs.line_num_coeff == pytest.approx(RATIONAL.line_num_coeff)


def test_control_points_count_from_the_corner(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 40, 64).astype(np.uint16), crs="EPSG:4326", transform=None, gcps=GCPS)
    with rasterio.open(fit(scene, tiny_prior, scale=2).restored) as found:
        points, crs = found.gcps
    assert [(p.row, p.col, p.x, p.y, p.z) for p in points] == [(0, 0, 1.5, 43.5, 10), (65, 128, 1.6, 43.5, 11), (80, 0, 1.5, 43.4, 12)]
    assert crs.to_epsg() == 4326


def test_rotated_transforms_keep_their_corner(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 40, 64).astype(np.uint16), transform=ROTATED)
    with rasterio.open(fit(scene, tiny_prior, scale=2).restored) as found:
        for point in ((0, 0), (64, 0), (13, 40)):
            np.testing.assert_allclose(found.transform @ (2 * point[0], 2 * point[1]), ROTATED @ point, rtol=0, atol=1e-6)


def test_invalid_pixels_masks_and_alpha_are_repeated(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(2, 40, 64).astype(np.uint16)
    pixels[1] = 65535
    pixels[1, 5:9, 11:14] = 0
    pixels[0, 20, 30] = 7
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="minisblack", alpha="YES", nodata=7)
    result = fit(scene, tiny_prior, scale=2, noise=(5.0, 0.0))
    restored, std = read(Path(result.restored)), read(Path(str(result.std)))
    np.testing.assert_array_equal(restored[1], pixels[1].repeat(2, 0).repeat(2, 1))
    invalid = ((pixels[1] == 0) | (pixels[0] == 7)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(np.isnan(std[0]), invalid)
    np.testing.assert_array_equal(restored[0][invalid], pixels[0].repeat(2, 0).repeat(2, 1)[invalid])


def test_areas_of_a_magnified_scene_may_start_anywhere(tmp_path: Path) -> None:
    pixels = smooth(2, 13, 17).astype(np.uint16)
    with Scene(write_scene(tmp_path / "scene.tif", pixels)) as scene:
        for factor in (2, 3):
            fine, repeated = Magnified(scene, factor), pixels.repeat(factor, 1).repeat(factor, 2)
            assert (fine.height, fine.width) == repeated.shape[1:]
            np.testing.assert_array_equal(fine.read_raw(Area(3, 5, 8, 9), (1, 2)), repeated[:, 3:11, 5:14])
            values, valid = fine.read(Area(-2, 4, 6, 500))
            assert not valid[:, :2].any()
            assert not valid[:, :, fine.width - 4 :].any()
            np.testing.assert_array_equal(values[:, 2:, : fine.width - 4], repeated[:, :4, 4:])


@pytest.mark.parametrize("scale", [0, 3, 4])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(InputError, match=f"the scale is {scale}; accepted are 1"):
        RestoreOptions(scale=scale)


def test_a_psf_from_a_file_describes_the_measured_grid() -> None:
    kernel = np.full((3, 3), 1 / 9)
    band = Band("PAN", 0.7, Mtf("file", (0.3, 0.3), kernel=kernel), Noise(4.0, 0.0))
    with pytest.raises(InputError, match="a PSF from a file describes the measured grid"):
        imaging.restore(np.full((40, 40), 900), SensorProfile("s", "raw", 12, (band,)), options=RestoreOptions(scale=2))


def test_a_reference_must_be_on_the_finer_grid(tmp_path: Path, tiny_prior: Path) -> None:
    from imaging.restoration import restore_scene

    truth = smooth(1, 80, 96)
    scene = write_scene(tmp_path / "scene.tif", measured(truth))
    right = write_scene(tmp_path / "truth.tif", truth.astype(np.uint16), transform=UTM["transform"] @ Affine.scale(0.5))
    options = RestoreOptions(prior=str(tiny_prior), iterations=2, scale=2)
    result = restore_scene(scene, SENSOR, options=options, reference=right)
    assert result.reference is not None
    assert result.reference["psnr_before"] > 20
    with pytest.raises(InputError, match="the scene at scale 2 96 x 80"):
        restore_scene(scene, SENSOR, overwrite=True, options=options, reference=scene)
