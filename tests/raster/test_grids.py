"""How a multispectral grid lies on a panchromatic one, against grids that are made to lie so."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.rpc import RPC
from rasterio.transform import Affine, RPCTransformer

from imaging.errors import InputError
from imaging.raster import GridRelation, Scene, check_panchromatic, relate_grids
from imaging.raster.rational import ground_of, image_of
from tests.scenes import GCPS, ROTATED, UTM, write_scene

PAN = UTM["transform"]
PLACES = [(-3.25, 7.5), (0.0, 0.0), (12.125, -0.375)]


def rational(size: int) -> RPC:
    """Of a pushbroom's kind: nearly linear, with a parallax and small terms of higher order, over an image of so many pixels a side."""

    def terms(**given: float) -> list[float]:
        return [given.get(f"t{k}", 0.0) for k in range(20)]

    return RPC(
        height_off=200.0, height_scale=400.0, lat_off=43.5, lat_scale=0.02, long_off=1.4, long_scale=0.03,
        line_off=size / 2, line_scale=size / 2, samp_off=size / 2 - 3, samp_scale=size / 2,
        line_num_coeff=terms(t0=0.004, t1=0.1, t2=-1.05, t3=0.02, t4=1e-3, t7=-2e-4, t10=1e-5, t14=3e-5),
        line_den_coeff=terms(t0=1.0, t1=2e-4, t2=-1e-3, t3=5e-4, t8=1e-5),
        samp_num_coeff=terms(t0=-0.003, t1=1.02, t2=0.08, t3=-0.03, t5=4e-4, t9=1e-5, t12=-2e-5, t19=1e-6),
        samp_den_coeff=terms(t0=1.0, t1=-3e-4, t2=2e-3, t3=-5e-4, t6=1e-5),
    )  # fmt: skip


def coarser(rpcs: RPC, ratio: float, row: float, column: float) -> RPC:
    """Of a grid so many times as coarse, whose first corner lies at a place of the other."""
    found = copy(rpcs)
    for axis, corner in (("line", row), ("samp", column)):
        setattr(found, f"{axis}_off", (getattr(rpcs, f"{axis}_off") + 0.5 - corner) / ratio - 0.5)
        setattr(found, f"{axis}_scale", getattr(rpcs, f"{axis}_scale") / ratio)
    return found


def pair(folder: Path, sizes: tuple[tuple[int, int], tuple[int, int]], ms: dict[str, Any], pan: dict[str, Any]) -> tuple[Path, Path]:
    """A bundle of empty scenes, of sizes (rows, columns)."""
    return tuple(
        write_scene(folder / f"{name}.tif", np.ones((1, *size), np.uint8), **settings)  # type: ignore[return-value]
        for name, size, settings in zip(("ms", "pan"), sizes, (ms, pan), strict=True)
    )


def related(paths: tuple[Path, Path]) -> GridRelation:
    with Scene(paths[0]) as ms, Scene(paths[1]) as pan:
        return relate_grids(ms, pan)


def placed(ratio: float, row: float, column: float, base: Affine = PAN) -> dict[str, Any]:
    return {"transform": base @ Affine.translation(column, row) @ Affine.scale(ratio)}


def nowhere(**more: Any) -> dict[str, Any]:
    return {"crs": None, "transform": None} | more


@pytest.mark.parametrize("base", [PAN, ROTATED, Affine(0.5, 0, 371_000, 0, 0.5, 4_826_000)], ids=["utm", "rotated", "south up"])
@pytest.mark.parametrize("ratio", range(2, 7))
def test_geotransforms_tell_ratio_and_place(tmp_path: Path, ratio: int, base: Affine) -> None:
    for row, column in PLACES:
        paths = pair(tmp_path, ((20, 30), (20 * ratio, 31 * ratio)), placed(ratio, row, column, base), {"transform": base})
        assert related(paths) == GridRelation(ratio, row, column, "geotransforms")


def test_degrees_are_as_good_as_metres(tmp_path: Path) -> None:
    base = Affine(4.5e-6, 0, 1.4, 0, -4.5e-6, 43.6)
    paths = pair(
        tmp_path, ((20, 30), (80, 120)), placed(4, 1.7, -2.3, base) | {"crs": "EPSG:4326"}, {"transform": base, "crs": "EPSG:4326"}
    )
    assert related(paths) == GridRelation(4, 1.7, -2.3, "geotransforms")


def test_a_drift_below_a_quarter_of_a_pixel_is_shared_by_both_ends(tmp_path: Path) -> None:
    paths = pair(tmp_path, ((50, 50), (200, 200)), placed(4.004, 0, 0), {})
    found = related(paths)
    assert (found.ratio, found.row, found.column) == (4, pytest.approx(0.1, abs=2e-3), pytest.approx(0.1, abs=2e-3))
    with pytest.raises(InputError, match=r"as wide as 4\.006 and as high as 4\.006 pixels of .*pan.tif; accepted is one whole number"):
        related(pair(tmp_path, ((50, 50), (200, 200)), placed(4.006, 0, 0), {}))


def test_a_small_panchromatic_scene_within_a_large_multispectral_one(tmp_path: Path) -> None:
    found = related(pair(tmp_path, ((300, 300), (80, 80)), placed(4.001, -600, -500), {}))
    np.testing.assert_allclose(
        (found.row + 600, found.column + 500), (0.16, 0.135), atol=1e-3
    )  # the drift up to the panchromatic scene's middle


@pytest.mark.parametrize("ratio", range(2, 7))
def test_polynomials_tell_ratio_and_place(tmp_path: Path, ratio: int) -> None:
    fine = rational(40 * ratio)
    for row, column in PLACES:
        settings = nowhere(rpcs=coarser(fine, ratio, row, column)), nowhere(rpcs=fine)
        found = related(pair(tmp_path, ((40, 44), (40 * ratio, 44 * ratio)), *settings))
        assert (found.ratio, found.source) == (ratio, "rational polynomial coefficients")
        np.testing.assert_allclose((found.row, found.column), (row, column), rtol=0, atol=2e-6)


def test_polynomials_of_a_whole_product_serve_for_small_parts_of_it(tmp_path: Path) -> None:
    fine = rational(20_000)
    inner = copy(fine)
    inner.line_off, inner.samp_off = fine.line_off - 15_000, fine.samp_off - 900
    settings = nowhere(rpcs=coarser(fine, 4, 15_010.5, 950.25)), nowhere(rpcs=inner)
    found = related(pair(tmp_path, ((30, 200), (400, 100)), *settings))
    np.testing.assert_allclose((found.ratio, found.row, found.column), (4, 10.5, 50.25), rtol=0, atol=1e-5)


def test_polynomials_that_disagree_place_coarsely_or_not_at_all(tmp_path: Path) -> None:
    fine = rational(2000)
    sizes = (500, 500), (2000, 2000)
    found = related(pair(tmp_path, sizes, nowhere(rpcs=coarser(fine, 4.01, 0, 0)), nowhere(rpcs=fine)))
    assert found.ratio == 4
    assert found.row == pytest.approx(0.01 * 250, abs=0.05)
    deviation = 0.01 * 500 / 12**0.5  # of a drift that is uniform over the rows
    assert found.source == f"rational polynomial coefficients, coarse: they disagree by {deviation:.2g} panchromatic pixels"
    with pytest.raises(InputError, match=r"ms.tif and .*pan.tif drift apart by up to \d+\.?\d* panchromatic pixels"):
        related(pair(tmp_path, sizes, nowhere(rpcs=coarser(fine, 4.035, 0, 0)), nowhere(rpcs=fine)))


def test_a_parallax_does_not_move_the_grids_at_the_middle_height(tmp_path: Path) -> None:
    fine = rational(800)
    other = coarser(fine, 4, 2.0, 3.0)
    other.samp_num_coeff = [c + (0.001 if k == 3 else 0) for k, c in enumerate(fine.samp_num_coeff)]
    found = related(pair(tmp_path, ((200, 200), (800, 800)), nowhere(rpcs=other), nowhere(rpcs=fine)))
    np.testing.assert_allclose((found.row, found.column), (2, 3), rtol=0, atol=0.01)


def test_polynomials_are_those_of_gdal() -> None:
    rpcs, rng = rational(20_000), np.random.default_rng(0)
    ground = np.array([1.4, 43.5, 200.0]) + rng.uniform(-0.9, 0.9, (200, 3)) * (0.03, 0.02, 400.0)
    image = image_of(rpcs, ground)
    with RPCTransformer(rpcs) as gdal:
        rows, columns = gdal.rowcol(*ground.T[:2], zs=ground[:, 2], op=lambda n: n)
    np.testing.assert_allclose(image, np.stack([columns, rows], 1), rtol=0, atol=1e-6)
    for place, at in zip(ground, image, strict=True):
        np.testing.assert_allclose(ground_of(rpcs, at[None], place[2])[0], place, rtol=0, atol=1e-10)


def test_ground_that_no_polynomial_leads_to_is_not_finite() -> None:
    flat = rational(100)
    flat.line_num_coeff = [0.5, *[0.0] * 19]
    flat.line_den_coeff = [1.0, *[0.0] * 19]
    assert not np.isfinite(ground_of(flat, np.array([[10.0, 10.0]]), 200.0)[:, :2]).any()


@pytest.mark.parametrize("ratio", range(2, 7))
def test_without_georeference_the_sizes_decide(tmp_path: Path, ratio: int) -> None:
    for rest in (-ratio, -1, 0, 1, ratio):
        assert related(pair(tmp_path, ((30, 40), (30 * ratio, 40 * ratio + rest)), nowhere(), nowhere())) == GridRelation(
            ratio, 0, 0, "sizes"
        )
    for rest in (-ratio - 1, ratio + 1):
        with pytest.raises(InputError, match=r"pixels of .*pan\.tif; accepted is one whole number from 2 to 6"):
            related(pair(tmp_path, ((30, 40), (30 * ratio, 40 * ratio + rest)), nowhere(), nowhere()))


def test_control_points_and_transforms_that_count_pixels_are_no_georeference(tmp_path: Path) -> None:
    sizes = (30, 40), (120, 160)
    control = nowhere(crs="EPSG:4326", gcps=GCPS)
    assert related(pair(tmp_path, sizes, control, control)).source == "sizes"
    counted = {"crs": None, "transform": Affine(1, 0, 5000, 0, -1, 700)}
    assert related(pair(tmp_path, sizes, counted, counted)).source == "sizes"
    fine = rational(160)
    found = related(pair(tmp_path, sizes, counted | {"rpcs": coarser(fine, 4, 0, 8)}, counted | {"rpcs": fine}))
    assert (round(found.column, 5), found.source) == (8, "rational polynomial coefficients")


def test_transforms_without_a_system_are_compared(tmp_path: Path) -> None:
    paths = pair(tmp_path, ((20, 30), (80, 120)), placed(4, 2.5, -1) | {"crs": None}, {"crs": None})
    assert related(paths) == GridRelation(4, 2.5, -1, "geotransforms")


TURNED = PAN @ Affine.rotation(1)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "same grid": ({}, {}, r"pixels of one size \(ratio 1\)"),
    "ratio 7": (placed(7, 0, 0), {}, "as wide as 7 and as high as 7 pixels"),
    "ratio 2.5": (placed(2.5, 0, 0), {}, "as wide as 2.5 and as high as 2.5 pixels"),
    "two ratios": ({"transform": PAN @ Affine.scale(2, 4)}, {}, "as wide as 2 and as high as 4 pixels"),
    "swapped": ({}, placed(4, 0, 0), "coarser than those of .*ms.tif; are the two swapped"),
    "rotated": (placed(4, 0, 0, TURNED), {}, "rotated or flipped against each other"),
    "by a right angle": (placed(4, 0, 0, PAN @ Affine.rotation(90)), {}, "rotated or flipped against each other"),
    "flipped": ({"transform": PAN @ Affine.scale(4, -4)}, {}, "rotated or flipped against each other"),
    "east of it": (placed(4, 0, 500), {}, r"371250 to 371330 east, 4825940 to 4826000 north\) and .*371000 to 371080 east.*do not overlap"),
    "hardly any overlap": (placed(4, 117, 0), {}, "do not overlap"),
    "other system": (placed(4, 0, 0) | {"crs": "EPSG:32632"}, {}, r"\(EPSG:32632 and EPSG:32631\); warp one to the other's"),
    "no system": (placed(4, 0, 0) | {"crs": None}, {}, r"\(none and EPSG:32631\)"),
    "no georeference": (nowhere(), {}, "has no georeference and .* has a geotransform"),
    "other kind": (placed(4, 0, 0), nowhere(rpcs=rational(160)), "has a geotransform and .* has rational polynomial coefficients"),
    "polynomials elsewhere": (
        nowhere(rpcs=coarser(rational(160), 4, 0, 900)), nowhere(rpcs=rational(160)), "east.*north.*do not overlap; are they of one place",
    ),
    "polynomials of one grid": (nowhere(rpcs=rational(160)), nowhere(rpcs=rational(160)), r"pixels of one size \(ratio 1\)"),
    "polynomials, ratio 3.5": (
        nowhere(rpcs=coarser(rational(160), 3.5, 0, 0)), nowhere(rpcs=rational(160)), r"as wide as 3\.5 and as high as 3\.5 pixels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_other_pairs_are_refused_by_name(tmp_path: Path, case: str) -> None:
    ms, pan, said = REFUSED[case]
    with pytest.raises(InputError, match=said) as caught:
        related(pair(tmp_path, ((30, 40), (120, 160)), ms, pan))
    assert str(tmp_path / "ms.tif") in str(caught.value)
    assert str(tmp_path / "pan.tif") in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (((30, 40), (30, 40)), r"pixels of one size \(ratio 1\)"),
        (((30, 40), (210, 280)), "as wide as 7 and as high as 7"),
        (((30, 40), (60, 160)), "as wide as 4 and as high as 2"),
        (((120, 160), (30, 40)), "are the two swapped"),
    ],
)
def test_other_sizes_are_refused(tmp_path: Path, sizes: tuple[tuple[int, int], tuple[int, int]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        related(pair(tmp_path, sizes, nowhere(), nowhere()))


def test_a_panchromatic_scene_has_one_band(tmp_path: Path) -> None:
    ms = write_scene(tmp_path / "ms.tif", np.ones((4, 30, 40), np.uint8), **placed(4, 0, 0))
    several = write_scene(tmp_path / "pan.tif", np.ones((2, 120, 160), np.uint8))
    with pytest.raises(InputError, match=r"pan.tif has 2 image bands; .* --pan, has one: is it in the place of .*ms.tif"):
        with Scene(ms) as coarse, Scene(several) as fine:
            check_panchromatic(coarse, fine)
    with Scene(ms) as coarse, Scene(several, (2,)) as chosen:
        assert relate_grids(coarse, chosen).ratio == 4
    transparent = write_scene(tmp_path / "pan.tif", np.ones((2, 120, 160), np.uint8), photometric="minisblack", alpha="YES")
    assert related((ms, transparent)).ratio == 4


def test_a_relation_has_a_ratio_of_a_bundle() -> None:
    with pytest.raises(InputError, match="the ratio of two grids is 7; accepted are whole numbers from 2 to 6"):
        GridRelation(7, 0.0, 0.0, "sizes")
