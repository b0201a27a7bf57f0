"""What a file says about itself comes out as it went in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from tests.scenes import GCPS, RATIONAL, ROTATED, fit, read, smooth, write_scene

Values = np.ndarray[Any, Any]
NOWHERE = {"crs": None, "transform": None}


def pan() -> Values:
    return smooth(1, 48, 64).astype(np.uint16)


def rgb() -> Values:
    return (smooth(3, 64, 64) / 16).astype(np.uint8)


def _tagged(path: Path) -> Path:
    write_scene(path, smooth(2, 64, 64).astype(np.uint16))
    with rasterio.open(path, "r+") as target:
        target.update_tags(ACQUISITION="2024-05-01T10:00:00Z", TIFFTAG_IMAGEDESCRIPTION="a scene", AREA_OR_POINT="Point")
        target.update_tags(ns="IMAGERY", CLOUDCOVER="3", NOTE='"a" < b & é')
        target.update_tags(1, WAVELENGTH="0.6")
        target.update_tags(2, ns="CALIBRATION", LAMP="7")
        target.descriptions = ("B0", "a band of the user's")
        target.scales, target.offsets = (0.01, 0.02), (-1.0, 3.0)
        target.units = ("W/m2/sr/um", "W/m2/sr/um")
    return path


def _interpreted(path: Path) -> Path:
    colours = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined)
    write_scene(path, smooth(4, 64, 64).astype(np.uint16), photometric="MINISBLACK")
    with rasterio.open(path, "r+") as target:
        target.colorinterp = colours
    return path


def _point(path: Path, **profile: Any) -> Path:
    write_scene(path, pan(), **profile)
    with rasterio.open(path, "r+") as target:
        target.update_tags(AREA_OR_POINT="Point")
    return path


def _vertical(path: Path) -> Path:
    return write_scene(path, pan(), transform=Affine(0.5, 0, 371_000, 0, 0.5, 4_826_000))


KINDS: dict[str, Callable[[Path], Path]] = {
    "utm": lambda p: write_scene(p, pan()),
    "rotated": lambda p: write_scene(p, pan(), transform=ROTATED),
    "south up": _vertical,
    "pixel is point": _point,
    "transform only": lambda p: write_scene(p, pan(), crs=None),
    "gcps": lambda p: write_scene(p, pan(), crs="EPSG:4326", transform=None, gcps=GCPS),
    "gcps without a system": lambda p: write_scene(p, pan(), crs=CRS(), transform=None, gcps=GCPS),
    "gcps, pixel is point": lambda p: _point(p, crs="EPSG:4326", transform=None, gcps=GCPS),
    "rpc": lambda p: write_scene(p, pan(), **NOWHERE, rpcs=RATIONAL),
    "rpc and transform": lambda p: write_scene(p, pan(), rpcs=RATIONAL),
    "no georeference": lambda p: write_scene(p, pan(), **NOWHERE),
    "tags, scale, offset, unit": _tagged,
    "colour interpretation": _interpreted,
    "nodata": lambda p: write_scene(p, pan(), nodata=0),
    "big tiff": lambda p: write_scene(p, pan(), bigtiff="YES"),
    "striped": lambda p: write_scene(p, pan(), blockysize=7),
    "tiled": lambda p: write_scene(p, pan(), tiled=True, blockxsize=16, blockysize=32),
    "three bands, no colours": lambda p: write_scene(p, rgb(), photometric="MINISBLACK"),
    "colours and near infrared": lambda p: write_scene(p, np.concatenate([rgb(), rgb()[:1]]), photometric="rgb", alpha="NO"),
    "pixel interleaved": lambda p: write_scene(p, rgb(), interleave="pixel"),
    "jpeg": lambda p: write_scene(p, rgb(), compress="jpeg", photometric="ycbcr", tiled=True, blockxsize=64, blockysize=64),
    "float": lambda p: write_scene(p, pan().astype(np.float32), nodata=-9999.0),
}


def gcps(source: Any) -> list[tuple[float, ...]]:
    return [(g.row, g.col, g.x, g.y, g.z) for g in source.gcps[0]]


@pytest.fixture(params=KINDS, scope="module")
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_prior: Path) -> tuple[Path, Path, Path]:
    """A scene, its restored values and their standard deviations."""
    scene = KINDS[request.param](tmp_path_factory.mktemp("kind") / "scene.tif")
    result = fit(scene, tiny_prior, sensor="generic", iterations=1, noise=(6.0, 0.09))
    return scene, Path(result.restored), Path(str(result.std))


def test_metadata_comes_out_as_it_went_in(outputs: tuple[Path, Path, Path]) -> None:
    with rasterio.open(outputs[0]) as scene, rasterio.open(outputs[1]) as restored, rasterio.open(outputs[2]) as std:
        assert (restored.dtypes, restored.count) == (scene.dtypes, scene.count)
        assert (std.dtypes, std.count) == (("float32",) * scene.count, scene.count)
        assert restored.nodata == scene.nodata
        assert np.isnan(std.nodata)
        assert restored.colorinterp == scene.colorinterp
        assert restored.descriptions == scene.descriptions
        assert restored.units == scene.units
        assert std.scales == restored.scales == scene.scales
        assert restored.offsets == scene.offsets
        assert std.offsets == (0.0,) * scene.count, "an offset of the values does not move their standard deviation"
        for out in (restored, std):
            assert (out.width, out.height) == (scene.width, scene.height)
            assert (out.crs, out.transform) == (scene.crs, scene.transform)
            assert (gcps(out), out.gcps[1]) == (gcps(scene), scene.gcps[1])
            assert (out.rpcs and out.rpcs.to_dict()) == (scene.rpcs and scene.rpcs.to_dict())
            assert scene.tags().items() <= out.tags().items()
            for band in scene.indexes:
                assert scene.tags(band).items() <= out.tags(band).items()
                assert (scene.descriptions[band - 1] or f"band {band}") in (out.descriptions[band - 1] or f"band {band}")
            for namespace in ("IMAGERY", "CALIBRATION"):
                assert scene.tags(ns=namespace) == out.tags(ns=namespace)
                assert [scene.tags(b, ns=namespace) for b in scene.indexes] == [out.tags(b, ns=namespace) for b in scene.indexes]


def test_outputs_are_cloud_optimised_and_name_their_settings(outputs: tuple[Path, Path, Path], tiny_prior: Path) -> None:
    for path in outputs[1:]:
        with rasterio.open(path) as out:
            assert out.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert out.profile["tiled"]
            tags = out.tags()
            assert (tags["IMAGING_SENSOR"], tags["IMAGING_PRIOR"], tags["IMAGING_SEED"]) == ("generic", "tiny", "0")
            assert (tags["IMAGING_ITERATIONS"], tags["IMAGING_TILE"], tags["IMAGING_METHOD"]) == ("1", "64", "vble-xz")
            assert tags["IMAGING_PRIOR_SHA256"] in (tiny_prior / "recipe.toml").read_text()
        assert not Path(f"{path}.aux.xml").exists()


def test_the_kinds_hold_what_they_are_named_for(tmp_path: Path) -> None:
    """Guards the round trips above against scenes that lost their metadata when they were written."""
    paths = {name: make(tmp_path / f"{name}.tif") for name, make in KINDS.items()}
    with rasterio.open(paths["gcps"]) as s:
        assert len(s.gcps[0]) == 3
    with rasterio.open(paths["rpc"]) as s:
        assert s.rpcs.err_bias == 1.0
        assert s.crs is None
    with rasterio.open(paths["tags, scale, offset, unit"]) as s:
        assert s.tags()["AREA_OR_POINT"] == "Point"
        assert s.tags(2, ns="CALIBRATION") == {"LAMP": "7"}
        assert s.scales == (0.01, 0.02)
    with rasterio.open(paths["colour interpretation"]) as s:
        assert s.colorinterp[0] == ColorInterp.blue
    with rasterio.open(paths["three bands, no colours"]) as s:
        assert s.colorinterp == (ColorInterp.gray, ColorInterp.undefined, ColorInterp.undefined)
    with rasterio.open(paths["colours and near infrared"]) as s:
        assert s.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)
    with rasterio.open(paths["jpeg"]) as s:
        assert s.compression.name == "jpeg"
        assert s.colorinterp[0] == ColorInterp.red
    assert paths["big tiff"].read_bytes()[2] == 43


def test_large_outputs_have_overviews_of_the_valid_pixels(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(1, 64, 600).astype(np.uint16)
    pixels[:, :, :200] = 0
    result = fit(write_scene(tmp_path / "scene.tif", pixels, nodata=0), tiny_prior, iterations=1, tile=512)
    restored = read(Path(result.restored)).astype(float)
    with rasterio.open(result.restored) as out:
        assert out.overviews(1) == [2]
    with rasterio.open(result.restored, overview_level=0) as overview:
        expected = restored.reshape(1, 32, 2, 300, 2).mean((2, 4))
        np.testing.assert_allclose(overview.read(), expected, atol=0.51)
