"""Products: what is found in them, and what it says."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.raster import Area, Scene
from imaging.sensors import ProductScene, find_scene, is_product, load_profile, product_scenes
from tests.scenes import FURTHER
from tests.sensors.products import S2_BANDS, dimap, landsat, sentinel2, values_of

REAL = FURTHER / "pleiades_real"


def opened(scene: ProductScene) -> Scene:
    return Scene(scene.path, virtual=scene.assembly.virtual())


def only(folder: Path) -> ProductScene:
    scene = find_scene(folder)
    assert scene is not None
    return scene


def test_a_panchromatic_dimap_folder_is_the_mission_s_sensor_with_its_special_values_and_gains(tmp_path: Path) -> None:
    folder = dimap(tmp_path / "IMG_PHR1A_P_001", files={"IMG_P_R1C1.TIF": ("P",)}, nodata=7)
    scene = only(folder)
    assert scene.profile is not None
    whole = load_profile("pleiades")
    assert scene.profile == replace(whole, bands=whole.bands[:1])
    assert any("the value 4095 are saturated" in n for n in scene.notes)
    with opened(scene) as raster:
        assert raster.descriptions == ("PAN",)
        assert raster.nodata == 7
        values, valid = raster.read(Area(0, 0, 96, 96))
        assert not valid[0, :5, :5].any()
        assert valid.sum() == 96 * 96 - 25
        np.testing.assert_array_equal(values[valid], values_of(folder / "IMG_P_R1C1.TIF")[valid])
        assert raster.source.scales == (0.1,)
        assert raster.source.offsets == (0.5,)
        assert raster.source.units == ("W/m2/sr/um",)
        assert raster.source.crs.to_epsg() == 32631


def test_tiles_of_a_dimap_folder_are_one_scene(tmp_path: Path) -> None:
    folder = dimap(tmp_path / "IMG", files={"IMG_R1C1.TIF IMG_R2C1.TIF": ("P",)}, tile=60)
    with opened(only(folder)) as raster:
        assert (raster.height, raster.width) == (96, 96)
        values, _ = raster.read(Area(0, 0, 96, 96))
        parts = [values_of(folder / f"IMG_R{k}C1.TIF") for k in (1, 2)]
        np.testing.assert_array_equal(values, np.concatenate(parts, 1))
        assert set(raster.files) == {folder / "IMG_R1C1.TIF", folder / "IMG_R2C1.TIF"}


@pytest.mark.parametrize("indexed", [True, False])
def test_bands_of_a_file_are_named_by_its_index_or_by_the_order_of_the_calibrations(tmp_path: Path, indexed: bool) -> None:
    folder = dimap(tmp_path / "IMG", spectral="MS", files={"IMG_R1C1.TIF": ("B2", "B1", "B0", "B3")}, indexed=indexed)
    scene = only(folder)
    assert scene.name == "MS"
    assert scene.assembly.descriptions == ("B2", "B1", "B0", "B3")
    assert scene.profile is not None
    assert [b.common_name for b in scene.profile.bands] == ["red", "green", "blue", "nir"]
    assert any("order of their calibrations" in n for n in scene.notes) is not indexed


def test_pleiades_neo_s_six_bands_come_from_two_files(tmp_path: Path) -> None:
    files = {"IMG_RGB_R1C1.TIF": ("R", "G", "B"), "IMG_NED_R1C1.TIF": ("NIR", "RE", "DB")}
    folder = dimap(tmp_path / "IMG", mission="PNEO", index="3", spectral="MS-FS", files=files)
    # As delivered: the second file's first band is numbered through both files, the others are not.
    xml = folder / "DIM_IMG.XML"
    xml.write_text(xml.read_text().replace("<BAND_ID>NIR</BAND_ID><BAND_INDEX>1<", "<BAND_ID>NIR</BAND_ID><BAND_INDEX>4<"))
    scene = only(folder)
    assert scene.assembly.descriptions == ("R", "G", "B", "NIR", "RE", "DB")
    assert scene.profile is not None
    assert scene.profile.name == "pleiades-neo"
    with opened(scene) as raster:
        values, _ = raster.read(Area(10, 10, 50, 50))
        expected = np.concatenate([values_of(folder / f) for f in files])[:, 10:60, 10:60]
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(("mission", "index", "sensor"), [("PHR", "1B", "pleiades"), ("PNEO", "4", "pleiades-neo"), ("SPOT", "7", "spot6")])
def test_missions_have_their_profiles(tmp_path: Path, mission: str, index: str, sensor: str) -> None:
    scene = only(dimap(tmp_path / "IMG", mission=mission, index=index, files={"A_R1C1.TIF": ("P",)}))
    assert scene.profile is not None
    assert scene.profile.name == sensor
    assert sensor in scene.notes[0]
    assert mission in scene.notes[0]


def test_what_is_not_stored_as_counts_has_no_noise_of_the_sensor_and_no_gains(tmp_path: Path) -> None:
    scene = only(dimap(tmp_path / "IMG", files={"A_R1C1.TIF": ("P",)}, radiometry="REFLECTANCE"))
    assert scene.profile is not None
    assert scene.profile.bands[0].noise is None
    assert scene.assembly.scaling == ()
    assert any("estimated from the scene" in n for n in scene.notes)


def test_a_product_that_was_not_restored_has_the_instrument_s_sharpness(tmp_path: Path) -> None:
    scene = only(dimap(tmp_path / "IMG", files={"A_R1C1.TIF": ("P",)}, restored="false"))
    assert scene.profile is not None
    assert scene.profile.bands == load_profile("pleiades-raw").bands[:1]


def test_pansharpened_bands_are_as_sharp_as_the_panchromatic_one(tmp_path: Path) -> None:
    scene = only(dimap(tmp_path / "IMG", spectral="PMS", files={"A_R1C1.TIF": ("B2", "B1", "B0", "B3")}))
    pan = load_profile("pleiades").bands[0]
    assert scene.profile is not None
    assert {b.mtf for b in scene.profile.bands} == {pan.mtf}
    assert [b.common_name for b in scene.profile.bands] == ["red", "green", "blue", "nir"]
    assert any("pansharpened" in n for n in scene.notes)


def test_a_bundle_holds_two_scenes_that_have_names(tmp_path: Path) -> None:
    dimap(tmp_path / "order" / "IMG_P", files={"P_R1C1.TIF": ("P",)})
    dimap(tmp_path / "order" / "IMG_MS", spectral="MS", files={"MS_R1C1.TIF": ("B0", "B1", "B2", "B3")})
    folder = tmp_path / "order"
    assert not is_product(folder), "two products beside each other"
    (folder / "VOL_PHR.XML").write_text("<Dimap_Document/>")
    assert sorted(s.name for s in product_scenes(folder)) == ["MS", "PAN"]
    with pytest.raises(InputError, match=r"different ground sample distance, which are restored one by one: .*/MS \(B0, B1, B2, B3\)"):
        find_scene(folder)
    assert only(folder / "PAN").assembly.descriptions == ("PAN",)
    with pytest.raises(InputError, match="has no scene 10m; it has MS, PAN"):
        find_scene(folder / "10m")


def test_the_inventory_format_of_a_real_product_is_read(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip("IMAGING_DATA names no folder with real metadata")
    shutil.copy(REAL / "PHRDIMAP_P1BP--2017030824934340CP.XML", tmp_path)
    with pytest.raises(InputError, match=r"IMG_R1C1.JP2 is missing: the product is not complete"):
        find_scene(tmp_path)
    shutil.copy(REAL / "ventoux_left_image.tif", tmp_path / "IMG_R1C1.JP2")
    scene = only(tmp_path)
    assert scene.name == "PAN"
    assert scene.profile is not None
    assert scene.profile.name == "pleiades"
    assert scene.assembly.nodata == 0
    (scaling,) = scene.assembly.scaling
    assert (1 / scaling.scale, scaling.offset) == (pytest.approx(12.27), 0)
    assert scene.notes[0] == "PHR 1B PA, level SENSOR: sensor pleiades"


def test_sentinel_2_bands_carry_the_noise_of_the_metadata(tmp_path: Path) -> None:
    scenes = {s.name: s for s in product_scenes(sentinel2(tmp_path / "S2B_MSIL1C_X.SAFE"))}
    assert list(scenes) == ["10m", "20m", "60m"]
    assert scenes["10m"].assembly.descriptions == ("B2", "B3", "B4", "B8")
    assert scenes["20m"].assembly.descriptions == ("B5", "B6", "B7", "B8A", "B11", "B12")
    # A count of the detector has variance alpha^2 + beta CN, and CN = A E0 U cos(theta) / pi * reflectance.
    counts_per_reflectance = 4.0 * 1500 * 1.02 * 0.5 / math.pi
    for scene in scenes.values():
        assert scene.profile is not None
        for band in scene.profile.bands:
            alpha = 1 + S2_BANDS.index(f"B{band.name[1:]:0>2}" if band.name != "B8A" else "B8A") / 10
            noise = band.noise
            assert noise is not None
            for reflectance in (0.05, 0.3):
                count = counts_per_reflectance * reflectance
                expected = 0.73 * math.sqrt(alpha**2 + 0.05 * count) / counts_per_reflectance * 10_000
                stored = 10_000 * reflectance + 1000
                assert math.sqrt(noise.sigma0**2 + noise.gain * (stored - noise.offset)) == pytest.approx(expected, rel=1e-9)
    with opened(scenes["10m"]) as raster:
        assert raster.nodata == 0
        assert raster.source.crs.to_epsg() == 32631
        assert raster.source.transform.a == 10
        np.testing.assert_allclose([raster.source.scales[0], raster.source.offsets[0]], [1e-4, -0.1])
        assert not raster.read(Area(0, 0, 4, 4))[1][0, :3, :3].any()


def test_older_sentinel_2_products_have_no_offset_and_those_without_noise_the_profile_s(tmp_path: Path) -> None:
    scene = product_scenes(sentinel2(tmp_path / "A.SAFE", offset=None, noise=False, bands=("B02",)))[0]
    assert scene.profile is not None
    (band,) = scene.profile.bands
    reference = load_profile("sentinel2").bands[0].noise
    assert band.noise is not None
    assert reference is not None
    assert (band.noise.sigma0, band.noise.gain, band.noise.offset) == (reference.sigma0, reference.gain, 0.0)
    assert any("no complete noise model" in n for n in scene.notes)


def test_level_2a_has_its_own_offsets_and_one_file_for_each_band(tmp_path: Path) -> None:
    scene = product_scenes(sentinel2(tmp_path / "A.SAFE", level="2A", offset=-900, bands=("B02", "B03")))[0]
    assert scene.assembly.descriptions == ("B2", "B3")
    assert scene.profile is not None
    assert {b.noise.offset for b in scene.profile.bands if b.noise} == {900.0}


def test_landsat_s_two_scenes_have_their_bands_and_reflectances(tmp_path: Path) -> None:
    scenes = {s.name: s for s in product_scenes(landsat(tmp_path / "LC08"))}
    assert {n: s.assembly.descriptions for n, s in scenes.items()} == {"PAN": ("PAN",), "MS": ("B2", "B3", "B4", "B5")}
    with opened(scenes["MS"]) as raster:
        assert raster.nodata == 0
        assert raster.source.scales == (2e-5,) * 4
        assert raster.source.offsets == (-0.1,) * 4
    profile = scenes["MS"].profile
    assert profile is not None
    assert [b.common_name for b in profile.bands] == ["blue", "green", "red", "nir"]


def _without(folder: Path, name: str) -> Path:
    next(folder.rglob(name)).unlink()
    return folder


def _replaced(folder: Path, name: str, old: str, new: str) -> Path:
    path = next(folder.rglob(name))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return folder


def _cut(folder: Path, name: str) -> Path:
    next(folder.rglob(name)).write_bytes(b"II*")
    return folder


def _pan(folder: Path, old: str, new: str) -> Path:
    return _replaced(dimap(folder, files={"A.TIF": ("P",)}), "DIM*", old, new)


def _blue(folder: Path, name: str, old: str, new: str) -> Path:
    return _replaced(sentinel2(folder, bands=("B02",)), name, old, new)


def _tiled(folder: Path, old: str, new: str) -> Path:
    made = dimap(folder, files={"IMG_R1C1.TIF IMG_R2C1.TIF": ("P",)}, tile=60)
    return _replaced(_replaced(made, "DIM*", "<NROWS>96<", "<NROWS>0<"), "DIM*", old, new)


Case = tuple[Callable[[Path], Path], str]
BROKEN: dict[str, Case] = {
    "missing raster": (lambda p: _without(landsat(p), "*_B3.TIF"), "B3.TIF is missing: the product is not complete"),
    "damaged raster": (lambda p: _cut(landsat(p), "*_B3.TIF"), "B3.TIF is not a raster that can be read"),
    "other spacecraft": (lambda p: landsat(p, spacecraft="LANDSAT_5"), "is of LANDSAT_5; accepted are LANDSAT_8, LANDSAT_9"),
    "no XML": (lambda p: _pan(p, "</Dimap_Document>", ""), "cannot be read as XML"),
    "twice a band": (lambda p: dimap(p, files={"A.TIF": ("B1",), "B.TIF": ("B1",)}), "names the bands B1, B1, one of them twice"),
    "no number": (lambda p: _pan(p, "<GAIN>10<", "<GAIN>ten<"), "GAIN is 'ten'; accepted: a finite number"),
    "bands without names": (lambda p: _pan(p, "BAND_ID", "OTHER"), "has no BAND_ID"),
    "no files": (lambda p: _pan(p, "DATA_FILE_PATH", "OTHER"), "has a Data_File without DATA_FILE_PATH"),
    "too small": (lambda p: _pan(p, "<NROWS>96<", "<NROWS>400<"), "make 96 x 96 pixels, the metadata say 400 x 96"),
    "no first tile": (lambda p: _pan(p, 'tile_R="1"', 'tile_R="2"'), "names tiles but not their size"),
    "first tile missing": (lambda p: _tiled(p, 'tile_R="1"', 'tile_R="3"'), "the first tile in"),
    "tile number": (lambda p: _tiled(p, 'tile_R="1"', 'tile_R="x"'), "tile_R is 'x'; accepted: a whole number"),
    "tile size": (lambda p: _tiled(p, 'nrows="60"', 'nrows="inf"'), "nrows is 'inf'; accepted: a whole number"),
    "endless rows": (lambda p: _pan(p, "<NROWS>96<", "<NROWS>inf<"), "NROWS is 'inf'; accepted: a finite number from 0"),
    "file elsewhere": (lambda p: _pan(p, 'href="', 'href="../'), "name '../A.TIF'; accepted: a file of the product"),
    "absolute file": (lambda p: _pan(p, 'href="', 'href="/'), "name '/A.TIF'; accepted: a file of the product"),
    "long name": (lambda p: _pan(p, 'href="', f'href="{300 * "a"}'), "accepted: a file of the product"),
    "file of Landsat elsewhere": (lambda p: _replaced(landsat(p), "*_MTL.txt", '= "LC08', '= "../LC08'), "accepted: a file of the product"),
    "file of Sentinel elsewhere": (lambda p: _blue(p, "MTD_MSI*", "<IMAGE_FILE>", "<IMAGE_FILE>../"), "accepted: a file of the product"),
    "band number": (lambda p: _blue(p, "MTD_MSI*", 'band_id="3"', 'band_id="99"'), "band_id is '99'; accepted: 0 to 12"),
    "offset": (lambda p: _blue(p, "MTD_MSI*", ">-1000<", ">1e308<"), "RADIO_ADD_OFFSET is '1e308'; accepted: a finite number"),
    "no offset": (lambda p: _blue(p, "MTD_MSI*", ">-1000<", ">nan<"), "RADIO_ADD_OFFSET is 'nan'; accepted: a finite number"),
    "quantum": (lambda p: _blue(p, "MTD_MSI*", ">10000<", ">0<"), "QUANTIFICATION_VALUE is '0'; accepted: a finite number from 1"),
    "alpha": (lambda p: _blue(p, "MTD_DS.xml", "<ALPHA>1.1<", "<ALPHA>-1<"), "ALPHA is '-1'; accepted: a finite number from 0"),
    "zenith": (lambda p: _blue(p, "MTD_TL.xml", "60.0", "inf"), "ZENITH_ANGLE is 'inf'; accepted: a finite number"),
    "overlap": (lambda p: _tiled(p, "</Regular_Tiling>", '<NTILES_OVERLAP nrows="8" ncols="0"/></Regular_Tiling>'), "tiles that overlap"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_products_are_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    make, words = BROKEN[case]
    folder = make(tmp_path / "product")
    assert is_product(folder)
    with pytest.raises(InputError) as caught:
        [scene.assembly.virtual() for scene in product_scenes(folder)]
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("MTD_TL.xml", "60.0", "95.0", "detector counts"),
        ("MTD_TL.xml", "Mean_Sun_Angle", "Other", "no complete noise model"),
        ("MTD_DS.xml", 'bandId="1"', 'bandId="x"', "no complete noise model"),
    ],
)
def test_a_noise_model_that_is_not_complete_leaves_the_profile_s(tmp_path: Path, name: str, old: str, new: str, words: str) -> None:
    scene = only(_blue(tmp_path / "A.SAFE", name, old, new))
    noise = load_profile("sentinel2").bands[0].noise
    assert scene.profile is not None
    assert noise is not None
    assert scene.profile.bands[0].noise == replace(noise, offset=1000.0)
    assert any(words in n for n in scene.notes)


def test_tiles_are_placed_by_their_names_too_and_the_first_pixel_s_georeference_holds(tmp_path: Path) -> None:
    folder = dimap(tmp_path / "IMG", files={"IMG_R1C1.TIF IMG_R2C1.TIF": ("P",)}, tile=60)
    xml = folder / "DIM_IMG.XML"
    text = re.sub(r' tile_R="\d" tile_C="1"', "", xml.read_text())
    first, second = re.findall(r"<Data_File>.*?</Data_File>", text)
    xml.write_text(text.replace(first + second, second + first))
    with opened(only(folder)) as raster:
        assert (raster.height, raster.source.transform.f) == (96, 4_826_000)
        parts = [values_of(folder / f"IMG_R{k}C1.TIF") for k in (1, 2)]
        np.testing.assert_array_equal(raster.read(Area(0, 0, 96, 96))[0], np.concatenate(parts, 1))


def test_level_2_of_landsat_has_no_panchromatic_scene_though_its_metadata_repeat_level_1(tmp_path: Path) -> None:
    folder = landsat(tmp_path / "LC09", spacecraft="LANDSAT_9", bands=(2, 3, 4), level="L2SP")
    (scene,) = product_scenes(folder)
    assert scene.name == "MS"
    assert scene.assembly.descriptions == ("B2", "B3", "B4")
    assert {s.scale for s in scene.assembly.scaling} == {2.75e-5}
    assert "L2SP" in scene.notes[0]


def test_products_that_share_a_folder_are_all_found(tmp_path: Path) -> None:
    folder = landsat(tmp_path / "both", bands=(3,))
    other = landsat(tmp_path / "other", bands=(4,))
    for path in other.iterdir():
        path.rename(folder / path.name.replace("20240501", "20240517"))
    mtl = folder / "LC08_L1TP_198030_20240517_MTL.txt"
    mtl.write_text(mtl.read_text().replace("20240501", "20240517"))
    assert [s.name for s in product_scenes(folder)] == [f"LC08_L1TP_198030_{d}_MS" for d in ("20240501", "20240517")]
    assert only(mtl).assembly.descriptions == ("B4",)


def test_a_band_that_the_profile_does_not_know_needs_a_sensor(tmp_path: Path) -> None:
    scene = only(dimap(tmp_path / "IMG", files={"A.TIF": ("B9",)}))
    assert scene.profile is None
    assert any("has no band B9" in n for n in scene.notes)


def test_an_unknown_mission_needs_a_sensor(tmp_path: Path) -> None:
    scene = only(dimap(tmp_path / "IMG", mission="DOVE", files={"A.TIF": ("P",)}))
    assert scene.profile is None
    assert any("no sensor profile" in n for n in scene.notes)


def test_what_is_no_product_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a/>")
    assert not is_product(tmp_path)
    assert find_scene(tmp_path) is None
    assert find_scene(tmp_path / "a.xml") is None
    assert find_scene(tmp_path / "b.tif") is None


def test_products_tell_when_they_were_acquired(tmp_path: Path) -> None:
    when = {
        "2024-05-01T10:50:31.024Z": sentinel2(tmp_path / "A.SAFE", bands=("B02", "B05")),
        "2024-05-01T10:30:05.1234560Z": landsat(tmp_path / "LC08", bands=(3, 8)),
        "2024-05-02T10:42:35.1Z": dimap(tmp_path / "IMG", files={"A.TIF": ("P",)}, acquired=("2024-05-02", "10:42:35.1Z")),
        "2024-05-03": dimap(tmp_path / "day", files={"A.TIF": ("P",)}, acquired=("2024-05-03", "")),
        None: dimap(tmp_path / "none", files={"A.TIF": ("P",)}),
    }
    for moment, folder in when.items():
        assert {s.acquired for s in product_scenes(folder)} == {moment}
    located = "<Located_Geometric_Values><TIME>2024-05-04T10:00:00Z</TIME></Located_Geometric_Values></Dimap_Document>"
    _replaced(tmp_path / "none", "DIM*", "</Dimap_Document>", located)
    assert only(tmp_path / "none").acquired == "2024-05-04T10:00:00Z"


def test_values_for_display_are_not_linear(tmp_path: Path) -> None:
    kinds = {"BASIC": True, "RAW": True, "REFLECTANCE": True, "DISPLAY": False, "LINEAR_STRETCH": False, "SEAMLESS": False}
    for kind, linear in kinds.items():
        assert only(dimap(tmp_path / kind, files={"A.TIF": ("P",)}, radiometry=kind)).linear is linear
