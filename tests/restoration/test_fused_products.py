"""Products of bands of several ground sample distances, fused from their folders, against the scenes that they were made from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from imaging.errors import InputError
from imaging.raster import Scene
from imaging.restoration import FuseOptions, fuse_scene
from imaging.restoration.bundle import bundle_bands
from imaging.restoration.file_bundle import check_moment
from imaging.sensors import Noise, load_profile, product_scenes, sensor_physics
from tests.raster.test_grids import coarser, rational
from tests.restoration.patchwork import INSIDE, MARGIN, Stored, Values, bundle, cubic_errors, errors_and_coverage, scene, stored, within
from tests.scenes import UTM, read, write_scene
from tests.sensors.products import S2_BANDS, dimap, landsat, sentinel2

GAUSSIAN = FuseOptions(method="gaussian")
NAMES = ("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12", "B1", "B9")
"""Of Sentinel-2's bands, in the order of the results."""
WEIGHTS = (0.25, 0.30, 0.25, 0.20)


def safe(
    folder: Path, side: int, seed: int, names: tuple[str, ...] = NAMES, *, torn: bool = False, **settings: Any
) -> tuple[Path, Values, dict[str, Stored]]:  # fmt: skip
    """A Sentinel-2 product, measured by the sensor of its own metadata, and the scene in DN; of a torn one the first 60 m are no data."""
    keys = {n: f"B{n[1:]:0>2}" if n != "B8A" else n for n in names}
    chosen = tuple(k for k in S2_BANDS if k in keys.values())
    measured: dict[str, Stored] = {}
    rng = np.random.default_rng(seed)
    mix = np.array([1, 0.2, 0.2]) + 0.5 * rng.standard_normal((len(names), 3))
    x, first = scene(mix, side, seed, 1200, 300), 0
    for part in product_scenes(sentinel2(folder.with_name("probe"), bands=chosen, **settings)):
        assert part.profile is not None
        bands, ratio = part.profile.bands, int(part.profile.bands[0].gsd / 10)
        seen = torch.from_numpy(x[first : first + len(bands)] / part.profile.full_scale).float()[None]
        torch.manual_seed(seed + first)
        values = stored(sensor_physics(bands, part.profile.full_scale, MARGIN, ratio)(seen)[0], part.profile.full_scale, bands)
        values[:, : torn * 6 // ratio, : torn * 6 // ratio] = 0
        measured |= dict(zip([b.name for b in bands], values, strict=True))
        first += len(bands)
    made = sentinel2(folder, bands=chosen, values={keys[n]: v for n, v in measured.items()}, **settings)
    offset = -(settings.get("offset", -1000) or 0)
    return made, within(x) + offset, measured


def test_all_bands_of_sentinel_2_come_to_10_m_with_what_the_product_says_of_them(tmp_path: Path) -> None:
    folder, truth, measured = safe(tmp_path / "S2B_MSIL1C_X.SAFE", 240, 3, torn=True)
    result = fuse_scene(folder, options=GAUSSIAN)
    assert (result.sensor, result.pan, result.pan_weights) == ("sentinel2", str(folder / "10m"), [])
    assert result.restored == str(tmp_path / "S2B_MSIL1C_X_restored.tif")
    errors, coverage = errors_and_coverage(result, truth)
    for part, ratio in ((slice(4, 10), 2), (slice(10, 12), 6)):
        cubic = cubic_errors(np.stack([measured[n] for n in NAMES[part]]), ratio, truth[part])
        assert (errors[part] < 0.75 * cubic).all(), (errors[part], cubic)
    assert ((coverage > 0.8) & (coverage < 0.97)).all(), coverage
    sharp = np.stack([measured[n] for n in NAMES[:4]])[:, INSIDE:-INSIDE, INSIDE:-INSIDE]
    blurred = np.sqrt(((sharp - truth[:4, INSIDE:-INSIDE, INSIDE:-INSIDE]) ** 2).mean((1, 2)))
    assert (errors[:4] < blurred).all()
    with rasterio.open(result.restored) as fused, rasterio.open(next(folder.rglob("*_B02.jp2"))) as blue:
        assert (fused.crs, fused.transform, fused.shape, fused.dtypes[0]) == (blue.crs, blue.transform, blue.shape, "uint16")
        assert (fused.descriptions, fused.nodata, set(fused.units)) == (NAMES, 0, {"reflectance"})
        np.testing.assert_allclose([fused.scales, fused.offsets], [12 * (1e-4,), 12 * (-0.1,)])
        values, noise = fused.read(), json.loads(fused.tags()["IMAGING_NOISE"])
    np.testing.assert_array_equal((values == 0).all(0), (values == 0).any(0))
    assert (values[:, :6, :6] == 0).all()
    assert (values == 0).sum() == 12 * 36
    std = read(Path(result.std or ""))
    np.testing.assert_array_equal(np.isnan(std), values == 0)
    own = {b.name: b.noise for s in product_scenes(folder) if s.profile for b in s.profile.bands}
    assert noise == {n: [v.sigma0, v.gain, 1000.0] for n, v in own.items() if v}


def test_some_bands_of_sentinel_2_come_in_the_order_asked_for(tmp_path: Path) -> None:
    folder, truth, measured = safe(tmp_path / "A.SAFE", 180, 5, level="2A", offset=-900)
    some = fuse_scene(folder, options=replace(GAUSSIAN, bands=(11, 5, 2)))
    assert some.bands == [11, 5, 2]
    with rasterio.open(some.restored) as fused:
        assert fused.descriptions == ("B1", "B5", "B3")
    errors, coverage = errors_and_coverage(some, truth[[10, 4, 1]])
    assert ((coverage > 0.8) & (coverage < 0.97)).all(), coverage
    for k, (name, ratio) in enumerate((("B1", 6), ("B5", 2))):
        (cubic,) = cubic_errors(measured[name][None], ratio, truth[[NAMES.index(name)]])
        assert errors[k] < 0.75 * cubic


def test_offsets_may_differ_from_band_to_band(tmp_path: Path) -> None:
    names = ("B2", "B4", "B5", "B12", "B9")
    folder, _, _ = safe(tmp_path / "A.SAFE", 120, 7, names)
    plain = fuse_scene(folder, options=GAUSSIAN, output=tmp_path / "plain.tif")
    for path in folder.rglob("*.jp2"):
        band = S2_BANDS.index(path.stem.rpartition("_")[2])
        with rasterio.open(path) as source:
            values, settings = source.read(), {"transform": source.transform, "crs": source.crs}
        moved = np.where(values > 0, values + np.uint16(10 * band), 0).astype(np.uint16)
        path.unlink()
        write_scene(path, moved, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", **settings)
    xml = folder / "MTD_MSIL1C.xml"
    xml.write_text(re.sub(r'(band_id="(\d+)">)-1000', lambda m: f"{m[1]}{-1000 - 10 * int(m[2])}", xml.read_text()))
    other = fuse_scene(folder, options=GAUSSIAN, output=tmp_path / "other.tif")
    numbers = np.array([S2_BANDS.index(f"B{n[1:]:0>2}" if n != "B8A" else n) for n in names])[:, None, None]
    before, after = (read(Path(r.restored)).astype(float) for r in (plain, other))
    difference = np.where(before > 0, after - 10 * numbers - before, 0)
    assert np.abs(difference).max() <= 0.2 * np.nanmedian(read(Path(plain.std or ""))), "but for the range that counts as 1"
    with rasterio.open(other.restored) as fused:
        np.testing.assert_allclose(fused.offsets, -0.1 - 1e-3 * numbers.ravel())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bands": (1, 2)}, "the bands 1,2 are all of 10m, nothing is to be sharpened; they are 1 B2, 2 B3"),
        ({"bands": (13,)}, "bands 13 are not 1 to 12, each once"),
        ({"bands": (5, 5)}, "bands 5,5 are not 1 to 12, each once"),
        ({"pan_weights": (0.5, 0.5)}, "weights of a panchromatic band are given, but the sharp bands of"),
        ({"method": "vble-xz"}, "for several sharp bands there is --method gaussian"),
    ],
)
def test_what_sentinel_2_has_not_is_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    folder = sentinel2(tmp_path / "A.SAFE", bands=tuple(b for b in S2_BANDS if b != "B10"))
    with pytest.raises(InputError) as caught:
        fuse_scene(folder, options=FuseOptions(**{"method": "gaussian"} | settings))
    assert words in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["A.SAFE"]


@pytest.fixture(scope="module")
def oli() -> tuple[Values, Stored, Stored]:
    """A scene whose near and short-wave infrared are nothing like what the panchromatic band sees, and Landsat's bundle of it."""
    profile = load_profile("landsat8")
    profile = replace(profile, bands=tuple(replace(b, noise=Noise(8.0, 0.01)) for b in profile.bands))
    mix = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0.7, 0.7], [0, 0.3, 1]])
    x = scene(mix, 200, 3, 10_000, 1200, patches=12)  # noise is estimated on flat ground
    sharp, coarse = bundle(profile, x, (0, 0.3, 0.4, 0.3, 0, 0, 0), 2, (-0.5, -0.5))
    sharp[:, :6, :6], coarse[:, :3, :3] = 0, 0
    return within(x), sharp, coarse


def test_landsat_s_grids_lie_half_a_panchromatic_pixel_apart_and_infrared_is_less_sure(tmp_path: Path, oli: Any) -> None:
    truth, sharp, coarse = oli
    values = {8: sharp[0]} | dict(enumerate(coarse, start=1))
    folder = landsat(tmp_path / "LC08", bands=(1, 2, 3, 4, 5, 6, 7, 8), values=values, pan_corner=7.5)
    result = fuse_scene(folder, options=GAUSSIAN)
    np.testing.assert_allclose(result.pan_shift, 0, atol=0.03)  # beyond the half pixel of the geotransforms
    assert sum(result.pan_weights[:4]) == pytest.approx(1, abs=0.05)  # which of them, the estimated noise does not tell well
    np.testing.assert_allclose(result.pan_weights[4:], 0, atol=0.05)
    errors, coverage = errors_and_coverage(result, truth)
    assert ((coverage > 0.8) & (coverage < 0.97)).all(), coverage
    assert (errors < 0.8 * cubic_errors(coarse, 2, truth)).all()
    deviation = np.nanmean(read(Path(result.std or "")), (1, 2))
    assert deviation[4:].min() > 1.5 * deviation[1:4].max()
    assert errors[4:].min() > 1.5 * errors[1:4].max()
    with rasterio.open(result.restored) as fused, rasterio.open(next(folder.glob("*_B8.TIF"))) as pan:
        assert (fused.transform, fused.shape) == (pan.transform, pan.shape)
        assert (fused.descriptions, fused.nodata) == (tuple(f"B{k}" for k in range(1, 8)), 0)
        assert (fused.read()[:, :6, :6] == 0).all()


def test_level_2_of_landsat_is_no_bundle(tmp_path: Path) -> None:
    folder = landsat(tmp_path / "LC08", level="L2SP", bands=(2, 3, 4, 5))
    with pytest.raises(InputError, match="LC08 holds MS: no bundle of one sharp scene and coarser ones; restore its scenes one by one"):
        fuse_scene(folder, options=GAUSSIAN)


def airbus(folder: Path, pan: dict[str, Any], ms: dict[str, Any], **both: Any) -> Path:
    """A DIMAP volume of two folders; settings of `dimap`."""
    dimap(folder / "IMG_PHR1A_P_001", **{"files": {"IMG_PHR1A_P_001_R1C1.TIF": ("P",)}} | pan | both)
    bands = {"IMG_PHR1A_MS_001_R1C1.TIF": ("B2", "B1", "B0", "B3")}
    dimap(folder / "IMG_PHR1A_MS_001", **{"files": bands, "spectral": "MS"} | ms | both)
    (folder / "VOL_PHR.XML").write_text("<Dimap_Document/>")
    return folder


@pytest.mark.parametrize("level", ["ortho", "sensor"])
@pytest.mark.parametrize(("mission", "index", "sensor"), [("PHR", "1A", "pleiades"), ("SPOT", "6", "spot6")])
def test_a_dimap_volume_is_a_bundle(tmp_path: Path, level: str, mission: str, index: str, sensor: str) -> None:
    profile, x = load_profile(sensor), scene(np.array([[1, 0], [1, 0.3], [1, 0.5], [0.3, 1]]), 160, 4, 1200, 250)
    order = [2, 1, 0, 3]  # of the files, red to blue
    sharp, coarse = bundle(profile, x, WEIGHTS, 4, (1.5, -0.5))
    base, rpcs = UTM["transform"], rational(160)
    places: tuple[dict[str, Any], ...] = ({"transform": base}, {"transform": base @ base.translation(1.5, -0.5) @ base.scale(4)})
    if level == "sensor":
        places = tuple({"crs": None, "transform": None, "rpcs": r} for r in (rpcs, coarser(rpcs, 4, -0.5, 1.5)))
    pan, ms = ({"stored": v} | p for v, p in zip((sharp, coarse[order]), places, strict=True))
    folder = airbus(tmp_path / "volume", pan, ms, mission=mission, index=index, acquired=("2024-05-01", "10:42:35.1Z"))
    assert {s.name: s.acquired for s in product_scenes(folder)} == dict.fromkeys(("MS", "PAN"), "2024-05-01T10:42:35.1Z")
    result = fuse_scene(folder, options=GAUSSIAN)
    assert result.sensor == sensor
    assert result.pan == str(folder / "PAN")
    np.testing.assert_allclose(result.pan_weights, np.array(WEIGHTS)[order], atol=0.03)
    np.testing.assert_allclose(result.pan_shift, 0, atol=0.05)
    named = fuse_scene(folder / "MS", folder / "PAN", options=GAUSSIAN)
    assert named.restored == str(tmp_path / "volume_MS_restored.tif")
    assert Path(named.restored).read_bytes() == Path(result.restored).read_bytes()
    with rasterio.open(result.restored) as fused:
        assert fused.descriptions == ("B2", "B1", "B0", "B3")
        assert bool(fused.rpcs) is (level == "sensor")
        assert fused.transform == (base if level == "ortho" else base.identity())
        assert fused.units == 4 * ("W/m2/sr/um",)
    errors, _ = errors_and_coverage(result, within(x)[order])
    assert (errors < 0.75 * cubic_errors(coarse[order], 4, within(x)[order])).all()


def test_scenes_of_different_moments_are_no_bundle(tmp_path: Path) -> None:
    files = {"A.TIF": ("B2", "B1", "B0", "B3")}
    pan = dimap(tmp_path / "P", files={"A.TIF": ("P",)}, acquired=("2024-05-01", "10:42:35.1Z"))
    ms = dimap(tmp_path / "MS", spectral="MS", files=files, acquired=("2024-05-01", "11:42:36Z"))
    with pytest.raises(InputError, match=r"MS was acquired at 2024-05-01T11:42:36Z, .*P at 2024-05-01T10:42:35.1Z: the scenes of a bundle"):
        fuse_scene(ms, pan, options=GAUSSIAN)


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("2024-05-01T10:42:35.1Z", "2024-05-01T10:52:35Z", True),
        ("2024-05-01T10:42:35.1Z", "2024-05-01T10:52:36Z", False),
        ("2024-05-01T23:58:00Z", "2024-05-02 00:01:00", True),
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z", True),
        ("2024-05-01", "2024-05-01T10:42:35.1Z", True),
        ("2024-05-02", "2024-05-01T10:42:35.1Z", False),
        (None, "2024-05-01T10:42:35.1Z", True),
        ("in the morning", "2024-05-01T10:42:35.1Z", True),
    ],
)
def test_one_moment_is_ten_minutes_or_the_day_where_only_that_is_told(tmp_path: Path, first: str | None, second: str, one: bool) -> None:
    paths = [write_scene(tmp_path / f"{name}.tif", np.ones((1, 16, 16), np.uint8)) for name in ("ms", "pan")]
    with Scene(paths[0]) as ms, Scene(paths[1]) as pan:
        if one:
            check_moment(ms, pan, (first, second))
        else:
            with pytest.raises(InputError, match="the scenes of a bundle are of one moment"):
                check_moment(ms, pan, (first, second))


@pytest.mark.parametrize("radiometry", ["DISPLAY", "LINEAR_STRETCH"])
def test_products_for_display_and_pansharpened_ones_are_no_bundles(tmp_path: Path, radiometry: str) -> None:
    folder = airbus(tmp_path / "volume", {}, {}, radiometry=radiometry)
    with pytest.raises(InputError, match="PAN was made for display, each band stretched by itself"):
        fuse_scene(folder, options=GAUSSIAN)
    sharpened = dimap(tmp_path / "IMG", spectral="PMS", files={"A.TIF": ("B2", "B1", "B0", "B3")})
    with pytest.raises(InputError, match="IMG holds PMS: no bundle of one sharp scene and coarser ones"):
        fuse_scene(sharpened, options=GAUSSIAN)


def test_eight_bands_of_worldview_3_and_four_of_them_by_their_numbers(tmp_path: Path) -> None:
    profile = load_profile("worldview3")
    mix = np.array([1, 0.3]) + 0.4 * np.random.default_rng(0).standard_normal((8, 2))
    x = scene(mix, 160, 6, 600, 120)
    weights = (0.02, 0.15, 0.2, 0.2, 0.2, 0.13, 0.08, 0.02)
    sharp, coarse = bundle(profile, x, weights, 4)
    rpcs = rational(160)
    nowhere: dict[str, Any] = {"crs": None, "transform": None}
    pan = write_scene(tmp_path / "pan.tif", sharp, rpcs=rpcs, **nowhere)
    ms = write_scene(tmp_path / "ms.tif", coarse, rpcs=coarser(rpcs, 4, 0, 0), **nowhere)
    result = fuse_scene(ms, pan, "worldview3", options=GAUSSIAN)
    errors, coverage = errors_and_coverage(result, within(x))
    assert (errors < 0.75 * cubic_errors(coarse, 4, within(x))).all()
    assert ((coverage > 0.8) & (coverage < 0.97)).all(), coverage
    order = [4, 2, 1, 6]
    some = fuse_scene(ms, pan, "worldview3", options=replace(GAUSSIAN, bands=(5, 3, 2, 7)), output=tmp_path / "four.tif")
    with rasterio.open(some.restored) as fused:
        mtf = json.loads(fused.tags()["IMAGING_MTF_NYQUIST_AND_TARGET"])
    assert list(mtf) == ["PAN", "RED", "GREEN", "BLUE", "NIR1"]
    errors, coverage = errors_and_coverage(some, within(x)[order])
    assert (errors < 0.75 * cubic_errors(coarse[order], 4, within(x)[order])).all()
    assert ((coverage > 0.8) & (coverage < 0.97)).all(), coverage


@pytest.mark.parametrize(
    ("sensor", "coarse"), [("pleiades", 4), ("pleiades-raw", 4), ("pleiades-neo", 6), ("spot6", 4), ("worldview3", 8), ("landsat8", 7)]
)
def test_profiles_of_bundles_have_one_sharp_band(sensor: str, coarse: int) -> None:
    profile = load_profile(sensor)
    sharp, low = bundle_bands(profile, (None,), coarse * (None,))
    assert [b.name for b in sharp] == ["PAN"]
    assert (sharp, low) == (profile.bands[:1], profile.bands[1:])
    assert len({b.gsd for b in low}) == 1
    assert low[0].gsd / sharp[0].gsd == pytest.approx(2 if sensor == "landsat8" else 4)
