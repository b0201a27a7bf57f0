"""Scenes: what is opened, refused, read and held to be valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image, TiffImagePlugin
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from imaging.errors import InputError
from imaging.raster import Area, Scene, Statistics, statistics
from tests.scenes import smooth, write_scene

RAMP = np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 20, 30) + 1


def test_reading_beyond_the_scene_gives_invalid_zeros(tmp_path: Path) -> None:
    with Scene(write_scene(tmp_path / "scene.tif", RAMP)) as scene:
        values, valid = scene.read(Area(-3, -4, 26, 40))
    expected = np.pad(RAMP, ((0, 0), (3, 3), (4, 6)))
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(valid, expected > 0)


def test_reading_outside_the_scene_gives_nothing(tmp_path: Path) -> None:
    with Scene(write_scene(tmp_path / "scene.tif", RAMP)) as scene:
        values, valid = scene.read(Area(20, 0, 8, 8))
    assert values.shape == (2, 8, 8)
    assert not values.any()
    assert not valid.any()


def test_nodata_of_one_band_leaves_the_other_valid(tmp_path: Path) -> None:
    with Scene(write_scene(tmp_path / "scene.tif", RAMP, nodata=5)) as scene:
        _, valid = scene.read(Area(0, 0, 20, 30))
    np.testing.assert_array_equal(valid, RAMP != 5)


def test_values_that_are_not_finite_are_invalid(tmp_path: Path) -> None:
    pixels = RAMP.astype(np.float32)
    pixels[0, 1, 2], pixels[1, 3, 4], pixels[1, 5, 6] = np.nan, np.inf, -np.inf
    with Scene(write_scene(tmp_path / "scene.tif", pixels)) as scene:
        values, valid = scene.read(Area(0, 0, 20, 30))
    np.testing.assert_array_equal(valid, np.isfinite(pixels))
    np.testing.assert_array_equal(values, np.where(valid, pixels, 0))


def test_transparent_pixels_are_invalid_and_alpha_is_no_image_band(tmp_path: Path) -> None:
    alpha = np.full((1, 20, 30), 65535, np.uint16)
    alpha[0, :, 10:] = 0
    path = write_scene(tmp_path / "scene.tif", np.concatenate([RAMP[:1], alpha]), photometric="MINISBLACK", alpha="YES")
    with Scene(path) as scene:
        assert (scene.bands, scene.alpha) == ((1,), (2,))
        _, valid = scene.read(Area(0, 0, 20, 30))
        assert not scene.has_stored_mask
    np.testing.assert_array_equal(valid, alpha != 0)


def test_a_stored_mask_makes_all_bands_invalid(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", RAMP)
    mask = np.full((20, 30), 255, np.uint8)
    mask[4:9] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    with Scene(path) as scene:
        _, valid = scene.read(Area(0, 0, 20, 30))
        assert scene.has_stored_mask
    np.testing.assert_array_equal(valid, np.stack([mask, mask]) > 0)


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [("uint16", 0, 0), ("uint16", None, None), ("int16", -32768, -32768), ("uint8", 255, 255), ("float32", -9999.5, -9999.5)],
)
def test_nodata_that_the_type_holds_is_kept(tmp_path: Path, dtype: str, nodata: float | None, expected: float | None) -> None:
    with Scene(write_scene(tmp_path / "scene.tif", RAMP.astype(dtype), nodata=nodata)) as scene:
        assert scene.nodata == expected


@pytest.mark.parametrize("value", ["-9999", "70000", "nan"])
def test_nodata_that_the_type_cannot_hold_marks_nothing(tmp_path: Path, value: str) -> None:
    write_scene(tmp_path / "plain.tif", RAMP)
    text = '<VRTDataset rasterXSize="30" rasterYSize="20">'
    for band in (1, 2):
        text += (
            f'<VRTRasterBand dataType="UInt16" band="{band}"><NoDataValue>{value}</NoDataValue><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">plain.tif</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>'
        )
    (tmp_path / "scene.vrt").write_text(text + "</VRTDataset>")
    with Scene(tmp_path / "scene.vrt") as scene:
        assert scene.nodata is None
        assert {p.name for p in scene.files} == {"scene.vrt", "plain.tif"}
        np.testing.assert_array_equal(scene.read(Area(0, 0, 20, 30))[0], RAMP)


@pytest.mark.parametrize(
    ("profile", "dtype", "sentence"),
    [
        ({}, "complex64", r"complex numbers \(complex64\)"),
        ({}, "uint32", "holds uint32; accepted are uint8, int8, uint16, int16, float32"),
        ({}, "float64", "holds float64; accepted are"),
        ({"photometric": "palette"}, "uint8", "has a colour table"),
    ],
)
def test_what_cannot_be_restored_is_refused(tmp_path: Path, profile: dict[str, Any], dtype: str, sentence: str) -> None:
    path = tmp_path / "scene.tif"
    write_scene(path, RAMP[:1].astype(dtype), **profile)
    if profile:
        with rasterio.open(path, "r+") as target:
            target.write_colormap(1, {0: (0, 0, 0, 255), 9: (255, 0, 0, 255)})
    with pytest.raises(InputError, match=sentence):
        Scene(path)


@pytest.mark.parametrize(
    ("bands", "sentence"),
    [
        ((4,), "band 4 of .* is not there; its image bands are 1, 2"),
        ((0,), "band 0 of .* is not there"),
        ((3,), "band 3 of .* is alpha; its image bands are 1, 2"),
        ((1, 1), "bands 1,1 name one band twice"),
    ],
)
def test_impossible_bands_are_refused(tmp_path: Path, bands: tuple[int, ...], sentence: str) -> None:
    path = write_scene(tmp_path / "scene.tif", np.concatenate([RAMP, RAMP[:1]]))
    with rasterio.open(path, "r+") as target:
        target.colorinterp = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
    with pytest.raises(InputError, match=sentence):
        Scene(path, bands)


def test_only_alpha_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", RAMP[:1])
    with rasterio.open(path, "r+") as target:
        target.colorinterp = (ColorInterp.alpha,)
    with pytest.raises(InputError, match="only alpha bands"):
        Scene(path)


def test_bands_of_several_types_are_refused(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", RAMP[:1])
    write_scene(tmp_path / "b.tif", RAMP[1:].astype(np.float32))
    text = '<VRTDataset rasterXSize="30" rasterYSize="20">'
    for band, (name, dtype) in enumerate((("a.tif", "UInt16"), ("b.tif", "Float32")), start=1):
        text += (
            f'<VRTRasterBand dataType="{dtype}" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        )
    (tmp_path / "scene.vrt").write_text(text + "</VRTDataset>")
    with pytest.raises(InputError, match=r"several types \(uint16, float32\)"):
        Scene(tmp_path / "scene.vrt")


def test_blocks_partition_the_scene(tmp_path: Path) -> None:
    count = np.zeros((20, 30), int)
    with Scene(write_scene(tmp_path / "scene.tif", RAMP)) as scene:
        for block in scene.blocks(7):
            count[block.row : block.row + block.height, block.column : block.column + block.width] += 1
    assert (count == 1).all()


def test_sample_finds_the_only_valid_corner(tmp_path: Path) -> None:
    pixels = np.zeros((1, 200, 300), np.uint16)
    pixels[0, 199, 299] = 7
    with Scene(write_scene(tmp_path / "scene.tif", pixels, nodata=0)) as scene:
        found = scene.sample(side=16, most=4)
    assert sum(int(m.sum()) for _, m in found) == 1
    assert statistics(found, 0) == Statistics(7.0, 7.0, 7.0)


def test_sample_of_a_scene_without_valid_pixels_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 20, 30), np.uint16), nodata=0)
    with Scene(path) as scene, pytest.raises(InputError, match="no valid pixel: all are nodata or masked"):
        scene.sample()


@pytest.mark.parametrize("place", [None, (13_000, 17_001)])
@pytest.mark.parametrize("block", [{"tiled": True, "blockxsize": 256, "blockysize": 512}, {"blockysize": 7}])
def test_of_a_sparse_scene_only_what_is_stored_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[int, int] | None, block: dict[str, Any]
) -> None:
    path, read = tmp_path / "scene.tif", []
    with rasterio.open(
        path, "w", driver="GTiff", width=20_000, height=20_000, count=1, dtype="uint16", nodata=0, sparse_ok=True, **block
    ) as f:
        if place is not None:
            f.write(np.full((1, 1, 1), 700, np.uint16), window=Window(place[1], place[0], 1, 1))
    whole = Scene.read
    monkeypatch.setattr(Scene, "read", lambda self, area: read.append(area) or whole(self, area))
    with Scene(path) as scene:
        if place is None:
            with pytest.raises(InputError, match="no valid pixel"):
                scene.sample()
        else:
            ((values, valid),) = scene.sample()
            assert values[valid].tolist() == [700]
    assert len(read) <= 16 + 79


def test_a_reference_system_that_proj_refuses_is_said(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    plain = {1024: 1, 1025: 1, 2048: 4326, 3072: 32767, 3074: 32767, 3075: 7, 3076: 9001}
    keys = [*((k, 0, 1, v) for k, v in plain.items()), (3081, 34736, 1, 0), (3092, 34736, 1, 1)]
    for number, kind, values in (
        (33550, 12, (1.0, 1.0, 0.0)), (33922, 12, (0.0,) * 6), (34735, 3, (1, 1, 0, len(keys), *(v for k in keys for v in k))),
        (34736, 12, (1e9, 2.0)),
    ):  # fmt: skip
        tags.tagtype[number], tags[number] = kind, values
    Image.fromarray(RAMP[0].astype(np.uint8)).save(tmp_path / "merc.tif", tiffinfo=tags)
    if rasterio.__version__.startswith("1.4.0"):
        pytest.skip("this PROJ takes it")
    with pytest.raises(InputError, match=r"reference system of .*merc.tif cannot be used \(PROJ: .*\); give it another"):
        Scene(tmp_path / "merc.tif")


def test_a_jpeg_whose_tables_are_no_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.jpg"
    Image.fromarray(np.tile(RAMP[0].astype(np.uint8), (4, 4))).save(path)
    with Scene(path) as scene:
        assert scene.sample()[0][1].all()
    content = bytearray(path.read_bytes())
    content[content.find(b"\xff\xdb") + 4] |= 0x10  # of 16 bits, it says, but as long as one of 8
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is a JPEG that cannot be decoded|can be read \(libjpeg: Bogus marker length\)"):  # by GDAL's age
        Scene(path)


def test_statistics_are_those_of_the_valid_pixels(tmp_path: Path) -> None:
    pixels = smooth(2, 64, 64).astype(np.float32)
    pixels[0, :32] = np.nan
    with Scene(write_scene(tmp_path / "scene.tif", pixels)) as scene:
        found = statistics(scene.sample(), 0)
    assert found is not None
    assert found.mean == pytest.approx(pixels[0, 32:].mean(dtype=float))
    assert found.high == pytest.approx(np.quantile(pixels[0, 32:], 0.99))
    assert found.largest == pixels[0, 32:].max()


def test_a_band_without_valid_pixels_has_no_statistics(tmp_path: Path) -> None:
    pixels = RAMP.astype(np.float32)
    pixels[1] = np.nan
    with Scene(write_scene(tmp_path / "scene.tif", pixels)) as scene:
        assert statistics(scene.sample(), 1) is None
