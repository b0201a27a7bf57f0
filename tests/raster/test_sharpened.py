"""A multispectral scene on the panchromatic grid, and outputs that are written there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from imaging.raster import Area, GridRelation, Output, Scene, Sharpened, Tile, TileStore, relate_grids, write_output
from tests.raster.test_grids import coarser, nowhere, placed, rational
from tests.scenes import GCPS, read, smooth, write_scene

MS = smooth(3, 20, 24).astype(np.uint16)
PAN = smooth(1, 80, 100, seed=1).astype(np.uint16)


def nearest(values: NDArray[Any], relation: GridRelation, shape: tuple[int, int], beyond: float) -> NDArray[Any]:
    """Pixel by pixel: the multispectral pixel whose square holds the centre."""
    found = np.full((len(values), *shape), beyond, values.dtype)
    for row, column in np.ndindex(*shape):
        i = int((row + 0.5 - relation.row) // relation.ratio)
        j = int((column + 0.5 - relation.column) // relation.ratio)
        if 0 <= i < values.shape[1] and 0 <= j < values.shape[2]:
            found[:, row, column] = values[:, i, j]
    return found


@pytest.mark.parametrize("relation", [(4, 0.0, 0.0), (4, 2.25, -7.8), (3, -1.5, 40.0), (2, 75.0, 60.5), (6, -30.4, -20.0), (5, 90.0, 0.0)])
@pytest.mark.parametrize("nodata", [None, 7])
def test_pixels_are_those_that_hold_the_centres(tmp_path: Path, relation: tuple[int, float, float], nodata: int | None) -> None:
    pixels = MS.copy()
    pixels[1, 3:5, 6] = 7
    ms = Scene(write_scene(tmp_path / "ms.tif", pixels, nodata=nodata), (3, 2))
    pan, lies = Scene(write_scene(tmp_path / "pan.tif", PAN)), GridRelation(*relation, "made")
    with Sharpened(ms, pan, lies) as seen:
        assert (seen.height, seen.width, seen.bands, seen.nodata, seen.dtype) == (80, 100, (3, 2), nodata, np.dtype("uint16"))
        values = nearest(pixels[[2, 1]], lies, (80, 100), nodata or 0)
        valid = nearest((pixels[[2, 1]] != (nodata or -1)).astype(np.uint8), lies, (80, 100), 0)
        for area in (Area(0, 0, 80, 100), Area(11, 13, 17, 1), Area(79, 0, 1, 100)):
            part = (slice(None), slice(area.row, area.row + area.height), slice(area.column, area.column + area.width))
            np.testing.assert_array_equal(seen.read_raw(area, (3, 2)), values[part])
            np.testing.assert_array_equal(seen.read_mask(area, (3, 2)) != 0, valid[part])
        found, good = seen.read(Area(-3, 90, 20, 20))
        np.testing.assert_array_equal(good, np.pad(valid[:, :17, 90:], ((0, 0), (3, 0), (0, 10))))
        np.testing.assert_array_equal(found, np.pad(np.where(valid, values, 0)[:, :17, 90:], ((0, 0), (3, 0), (0, 10))))


def test_what_is_read_does_not_depend_on_the_area(tmp_path: Path) -> None:
    ms, pan = Scene(write_scene(tmp_path / "ms.tif", MS)), Scene(write_scene(tmp_path / "pan.tif", PAN))
    with Sharpened(ms, pan, GridRelation(4, -1.5, 0.5, "made")) as seen:
        whole = seen.read_raw(Area(0, 0, 80, 100), seen.bands)
        for area in seen.blocks(7):
            part = whole[:, area.row : area.row + area.height, area.column : area.column + area.width]
            np.testing.assert_array_equal(seen.read_raw(area, seen.bands), part)


def test_samples_are_as_measured(tmp_path: Path) -> None:
    ms, pan = Scene(write_scene(tmp_path / "ms.tif", MS)), Scene(write_scene(tmp_path / "pan.tif", PAN))
    with Sharpened(ms, pan, GridRelation(4, 0.0, 0.0, "made")) as seen:
        ((values, valid),) = seen.sample()
    np.testing.assert_array_equal(values, MS)
    assert valid.all()


def test_both_scenes_are_closed_and_named(tmp_path: Path) -> None:
    ms, pan = Scene(write_scene(tmp_path / "ms.tif", MS)), Scene(write_scene(tmp_path / "pan.tif", PAN))
    with Sharpened(ms, pan, GridRelation(4, 0.0, 0.0, "made")) as seen:
        assert (seen.path, seen.files) == (ms.path, (ms.path, pan.path))
        assert not ms.source.closed
    assert ms.source.closed
    assert pan.source.closed


def written(folder: Path, seen: Scene, **changes: Any) -> tuple[Path, NDArray[np.uint16]]:
    """An output of a bundle, in two tiles, and what was put into it."""
    values = smooth(len(seen.bands), seen.height, seen.width, seed=2).astype(np.uint16)
    tiles = [Tile(k, a, a) for k, a in enumerate(seen.blocks(64))]
    store = TileStore(folder / "out.tif", {"seed": 1})
    store.open(resume=False)
    for tile in tiles:
        core = tile.core
        store.put(tile, {"restored": values[:, core.row : core.row + core.height, core.column : core.column + core.width]})
    settings = {"path": folder / "out.tif", "array": "restored", "bands": seen.bands, "passed": seen.alpha, "dtype": "uint16"}
    path = write_output(
        seen, Output(**settings | {"nodata": seen.nodata, "same_quantity": True, "tags": {"A": "b"}} | changes), tiles, store
    )
    return path, values


def tagged(path: Path, **tags: str) -> None:
    with rasterio.open(path, "r+") as target:
        target.update_tags(**tags)
        target.descriptions = tuple(f"band of {path.stem} {k}" for k in target.indexes)
        target.scales, target.offsets = (0.01,) * target.count, (2.0,) * target.count
        target.update_tags(ns="IMAGERY", FILE=path.stem)
        target.update_tags(ns="GEOLOCATION", LINE_STEP=path.stem)
        target.update_tags(1, WAVELENGTH=path.stem)


GEOREFERENCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "geotransform": (placed(4, 1.3, -2.6), {}),
    "polynomials": (nowhere(rpcs=coarser(rational(80), 4, 1.3, -2.6)), nowhere(rpcs=rational(80))),
    "polynomials and geotransform": (placed(4, 1.3, -2.6) | {"rpcs": coarser(rational(80), 4, 0, 0)}, {"rpcs": rational(80)}),
    "control points": (nowhere(crs="EPSG:4326", gcps=GCPS[:1] * 3), nowhere(crs="EPSG:4326", gcps=GCPS)),
    "none": (nowhere(), nowhere()),
}


@pytest.mark.parametrize("kind", GEOREFERENCES)
@pytest.mark.parametrize("points", [("Point", "Area"), ("Area", "Point"), ("Point", None), (None, "Point")])
def test_outputs_lie_where_the_panchromatic_scene_does(tmp_path: Path, kind: str, points: tuple[str | None, str | None]) -> None:
    shape = (1, 80, 96) if kind in ("control points", "none") else PAN.shape
    paths = [write_scene(tmp_path / "ms.tif", MS, **GEOREFERENCES[kind][0])]
    paths.append(write_scene(tmp_path / "pan.tif", PAN[:, : shape[1], : shape[2]], **GEOREFERENCES[kind][1]))
    for path, point in zip(paths, points, strict=True):
        size = {"TIFFTAG_XRESOLUTION": "8" if path.stem == "pan" else "2", "TIFFTAG_YRESOLUTION": "2", "TIFFTAG_RESOLUTIONUNIT": "3"}
        tagged(path, SATELLITE=path.stem, **size, **({"AREA_OR_POINT": point} if point else {}))
    ms, pan = (Scene(p) for p in paths)
    with Sharpened(ms, pan, relate_grids(ms, pan)) as seen:
        path, values = written(tmp_path, seen)
    np.testing.assert_array_equal(read(path), values)
    with rasterio.open(path) as out, rasterio.open(paths[0]) as of_ms, rasterio.open(paths[1]) as of_pan:
        assert (out.crs, out.transform, out.shape) == (of_pan.crs, of_pan.transform, of_pan.shape)
        assert (out.rpcs and out.rpcs.to_dict()) == (of_pan.rpcs and of_pan.rpcs.to_dict())
        assert [(g.row, g.col, g.x, g.y, g.z) for g in out.gcps[0]] == [(g.row, g.col, g.x, g.y, g.z) for g in of_pan.gcps[0]]
        assert out.gcps[1] == of_pan.gcps[1]
        assert (out.tags().get("AREA_OR_POINT"), out.tags()["TIFFTAG_XRESOLUTION"]) == (of_pan.tags().get("AREA_OR_POINT"), "8")
        assert (out.tags()["SATELLITE"], out.tags()["A"], out.tags(1)["WAVELENGTH"]) == ("ms", "b", "ms")
        assert (out.tags(ns="IMAGERY"), out.tags(ns="GEOLOCATION")) == ({"FILE": "ms"}, {"LINE_STEP": "pan"})
        assert (out.descriptions, out.scales, out.offsets) == (of_ms.descriptions, of_ms.scales, of_ms.offsets)
        assert (out.nodata, out.colorinterp) == (of_ms.nodata, of_ms.colorinterp)


def test_a_fractional_offset_does_not_move_the_ground(tmp_path: Path) -> None:
    """A ramp over the ground, seen in both: the nearest pixel is off by at most half a multispectral one."""
    pixel = placed(4, 1.3, -2.6)["transform"]
    columns = np.arange(24) + 0.5
    east = (pixel @ (columns, 0 * columns))[0] - 371_000
    ms = Scene(write_scene(tmp_path / "ms.tif", np.broadcast_to(east.astype(np.float32), (1, 20, 24)), transform=pixel))
    pan = Scene(write_scene(tmp_path / "pan.tif", PAN))
    with Sharpened(ms, pan, relate_grids(ms, pan)) as seen:
        values, valid = seen.read(Area(10, 0, 1, 90))
    apart = values[0, 0] - 0.5 * (np.arange(90) + 0.5)
    assert valid.all()
    assert np.abs(apart).max() <= 1.0 + 1e-5


def test_masks_are_written_on_the_finer_grid(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "ms.tif", MS, **placed(4, 4, 2))
    mask = np.full(MS.shape[1:], 255, np.uint8)
    mask[5:9, 3] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    ms, pan = Scene(path), Scene(write_scene(tmp_path / "pan.tif", PAN))
    with Sharpened(ms, pan, relate_grids(ms, pan)) as seen:
        assert seen.has_stored_mask
        out, _ = written(tmp_path, seen)
    with rasterio.open(out) as found:
        np.testing.assert_array_equal(found.read_masks(2), nearest(mask[None], GridRelation(4, 4, 2, ""), (80, 100), 0)[0])


@pytest.mark.parametrize(("place", "needed"), [((0.0, 0.0), False), ((-1.5, 0.4), False), ((1.0, 0.0), True), ((0.0, -5.0), True)])
def test_what_was_not_measured_is_masked_where_nothing_else_tells(tmp_path: Path, place: tuple[float, float], needed: bool) -> None:
    pan = write_scene(tmp_path / "pan.tif", PAN[:, :76, :92])
    plain, told = (write_scene(tmp_path / f"{n}.tif", MS, **placed(4, *place), nodata=n) for n in (None, 0))
    with Sharpened(a := Scene(plain), b := Scene(pan), relate_grids(a, b)) as seen:
        assert seen.has_stored_mask is needed
        covered = seen.read_mask(Area(0, 0, 76, 92), (1,))[0] != 0
        assert covered.all() != needed
        out, _ = written(tmp_path, seen)
    with rasterio.open(out) as found:
        np.testing.assert_array_equal(found.dataset_mask() != 0, covered)
    with Sharpened(a := Scene(told), b := Scene(pan), relate_grids(a, b)) as seen:
        assert not seen.has_stored_mask


def test_alpha_is_passed_on_and_nil_beyond_the_scene(tmp_path: Path) -> None:
    pixels = MS[:2].copy()
    pixels[1] = 65535
    pixels[1, 4:8, 9] = 0
    settings = {"photometric": "minisblack", "alpha": "YES", "nodata": 9}
    ms = Scene(write_scene(tmp_path / "ms.tif", pixels, **placed(4, 1.3, 6.2), **settings))
    pan = Scene(write_scene(tmp_path / "pan.tif", PAN))
    with Sharpened(ms, pan, lies := relate_grids(ms, pan)) as seen:
        assert (seen.bands, seen.alpha, seen.has_stored_mask) == ((1,), (2,), False)
        assert seen.read_raw(Area(0, 0, 1, 1), (1, 2)).ravel().tolist() == [9, 0]
        out, values = written(tmp_path, seen)
    np.testing.assert_array_equal(read(out), np.concatenate([values, nearest(pixels[1:], lies, (80, 100), 0)]))


def test_plain_scenes_are_their_own_ground(tmp_path: Path) -> None:
    with Scene(write_scene(tmp_path / "pan.tif", PAN)) as scene:
        assert scene.ground is scene.source
    assert scene.source.closed
