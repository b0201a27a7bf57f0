"""Statistics within rasters and the style in which QGIS shows their standard deviations."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from imaging.errors import InputError
from imaging.raster import has_own_style, style_of, summarise
from imaging.report.colours import viridis
from tests.scenes import fit, listing, read, smooth, write_scene


def spread(bands: int = 1, height: int = 90, width: int = 70, seed: int = 0) -> Any:
    """Positive values with a corner of NaN."""
    values = np.random.default_rng(seed).gamma(4.0, 3.0, (bands, height, width)).astype(np.float32)
    values[:, :20, :30] = np.nan
    return values


def parsed(text: str) -> tuple[ElementTree.Element, ElementTree.Element, list[ElementTree.Element]]:
    """Renderer, shader and items of a style."""
    assert text.startswith("<!DOCTYPE qgis ")
    root = ElementTree.fromstring(text)
    assert (root.tag, root.get("styleCategories")) == ("qgis", "AllStyleCategories")
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    shader = renderer.find("rastershader/colorrampshader")
    assert shader is not None
    return renderer, shader, shader.findall("item")


def limits(text: str) -> tuple[float, float]:
    renderer, shader, items = parsed(text)
    found = {
        (float(str(renderer.get("classificationMin"))), float(str(renderer.get("classificationMax")))),
        (float(str(shader.get("minimumValue"))), float(str(shader.get("maximumValue")))),
        (float(str(items[0].get("value"))), float(str(items[-1].get("value")))),
    }
    assert len(found) == 1
    return found.pop()


def expected(values: Any) -> Any:
    return pytest.approx(tuple(np.nanpercentile(values.astype(float), (2, 98))), rel=1e-6)


@pytest.mark.parametrize("shape", [(90, 70), (1100, 1300)])
def test_a_summary_is_that_of_numpy(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = spread(1, *shape) + 1e4
    found = summarise(write_scene(tmp_path / "a.tif", values, nodata=np.nan), 1)
    known = values[np.isfinite(values)].astype(float)
    assert found is not None
    assert (found.smallest, found.largest, found.share) == (known.min(), known.max(), known.size / values.size)
    assert (found.mean, found.deviation) == pytest.approx((known.mean(), known.std()), rel=1e-11)
    assert (found.low, found.high) == expected(values)


def test_percentiles_of_more_pixels_than_are_kept_are_those_of_a_sample(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 2100, 2100), dtype=np.float32)
    found = summarise(write_scene(tmp_path / "a.tif", values), 1)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.02, 0.98), abs=1e-3)  # standard error 1.4e-4
    assert found.mean == pytest.approx(values.mean(dtype=float), rel=1e-12)


def test_alpha_and_masks_say_what_is_valid(tmp_path: Path) -> None:
    values = np.arange(200, dtype=np.uint8).reshape(1, 10, 20)
    alpha = np.where(values < 100, 0, 255).astype(np.uint8)
    with rasterio.open(write_scene(tmp_path / "a.tif", np.concatenate([values, alpha]), photometric="MINISBLACK"), "r+") as target:
        target.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(write_scene(tmp_path / "b.tif", values), "r+") as target:
        target.write_mask(values[0] >= 100)
    for name in ("a.tif", "b.tif"):
        found = summarise(tmp_path / name, 1)
        assert found is not None
        assert (found.smallest, found.largest, found.share) == (100, 199, 0.5)
    assert summarise(write_scene(tmp_path / "c.tif", values * 0, nodata=0), 1) is None


def test_one_band_is_shown_between_its_percentiles_with_its_unit(tmp_path: Path) -> None:
    values = spread()
    with rasterio.open(write_scene(tmp_path / "a.tif", values, nodata=np.nan), "r+") as target:
        target.units = ("DN",)
    before = (tmp_path / "a.tif").read_bytes()
    text = style_of(tmp_path / "a.tif")
    assert listing(tmp_path) == {"a.tif": before}, "nothing is left beside it"
    renderer, shader, items = parsed(text)
    assert limits(text) == expected(values)
    assert (renderer.get("type"), renderer.get("band"), renderer.get("nodataColor")) == ("singlebandpseudocolor", "1", "")
    assert (items[0].get("color"), items[-1].get("color")) == ("#440154", "#fde725")
    shown = viridis()[[0, 32, 64, 96, 128, 159, 191, 223, 255]]
    assert [i.get("color") for i in items] == ["#" + bytes(c).hex() for c in shown]
    np.testing.assert_allclose(np.diff([float(str(i.get("value"))) for i in items]), np.ptp(limits(text)) / 8)
    assert all(str(i.get("label")).endswith(" DN") for i in items)
    legend = shader.find("rampLegendSettings")
    assert legend is not None
    assert legend.get("suffix") == " DN"


def test_colours_become_lighter_in_even_steps() -> None:
    """Lightness of CIELAB, against which viridis was designed."""
    from skimage.color import rgb2lab

    lightness = rgb2lab(viridis()[None] / 255.0)[0, :, 0]
    steps = lightness[15::15] - lightness[:-15:15]
    assert steps.min() > 0.8 * steps.mean()
    assert steps.max() < 1.2 * steps.mean()


def test_of_several_bands_the_first_with_values_is_shown(tmp_path: Path) -> None:
    values = spread(3)
    values[0] = np.nan
    text = style_of(write_scene(tmp_path / "a.tif", values, nodata=np.nan))
    assert parsed(text)[0].get("band") == "2"
    assert limits(text) == expected(values[1])


def test_limits_are_in_scaled_values_as_qgis_reads_them(tmp_path: Path) -> None:
    values = spread()
    with rasterio.open(write_scene(tmp_path / "a.tif", values, nodata=np.nan), "r+") as target:
        target.scales, target.units = (0.01,), ("W/m2/sr/um",)
    text = style_of(tmp_path / "a.tif")
    assert limits(text) == expected(0.01 * values.astype(float))
    assert str(parsed(text)[2][0].get("label")).endswith(" W/m2/sr/um")


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan])
def test_a_raster_of_one_value_has_a_range(tmp_path: Path, value: float) -> None:
    low, high = limits(style_of(write_scene(tmp_path / "a.tif", np.full((1, 8, 8), value, np.float32), nodata=np.nan)))
    assert (low, high) == (0.0, value if value > 0 else 1.0)


def _scene(path: Path, kind: str) -> Path:
    if kind == "four bands":
        pixels = smooth(4, 64, 64).astype(np.uint16)
        pixels[:, :20, :30] = 0
        return write_scene(path, pixels, nodata=0)
    return write_scene(path, smooth(1, 64, 600 if kind == "wide" else 64).astype(np.uint16))


@pytest.mark.parametrize("kind", ["one band", "four bands", "scale 2", "wide"])
def test_outputs_carry_statistics_and_a_style(tmp_path: Path, tiny_prior: Path, kind: str) -> None:
    scene = _scene(tmp_path / "scene.tif", kind)
    result = fit(scene, tiny_prior, sensor="generic", iterations=1, noise=(6.0, 0.09), scale=2 if kind == "scale 2" else 1)
    assert sorted(listing(tmp_path)) == ["scene.tif", "scene_restored.tif", "scene_std.qml", "scene_std.tif"]
    for path in (Path(result.restored), Path(str(result.std))):
        with rasterio.open(path) as out:
            assert (out.colorinterp[0], out.nodata is None) == (ColorInterp.gray, kind != "four bands" and path.stem == "scene_restored")
            for band in out.indexes:
                known = out.read(band, masked=True).astype(float)
                values = known.compressed()[np.isfinite(known.compressed())]
                found = {k.removeprefix("STATISTICS_"): float(v) for k, v in out.tags(band).items() if k.startswith("STATISTICS_")}
                assert (found["MINIMUM"], found["MAXIMUM"]) == pytest.approx((values.min(), values.max()), rel=1e-12)
                assert (found["MEAN"], found["STDDEV"]) == pytest.approx((values.mean(), values.std()), rel=1e-12)
                assert found["VALID_PERCENT"] == pytest.approx(100 * values.size / known.size, abs=0.01)
    text = (tmp_path / "scene_std.qml").read_text(encoding="utf-8")
    assert limits(text) == expected(read(Path(str(result.std)))[0])
    assert str(parsed(text)[2][0].get("label")).endswith(" DN")


def test_overviews_of_standard_deviations_are_means_of_valid_pixels(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(1, 64, 600).astype(np.uint16)
    pixels[0, np.random.default_rng(0).random((64, 600)) < 0.3] = 0
    result = fit(write_scene(tmp_path / "scene.tif", pixels, nodata=0), tiny_prior, iterations=1, tile=512)
    squares = np.moveaxis(read(Path(str(result.std)))[0].astype(float).reshape(32, 2, 300, 2), 2, 1).reshape(32, 300, 4)
    some = np.isfinite(squares).any(-1)
    assert 0 < np.isnan(squares).sum()
    with rasterio.open(str(result.std), overview_level=0) as overview:
        found = overview.read(1)
    assert np.isnan(found[~some]).all()
    np.testing.assert_allclose(found[some], np.nanmean(squares[some], axis=-1), rtol=1e-6)


def test_a_style_is_written_with_standard_deviations_only(tmp_path: Path, tiny_prior: Path) -> None:
    scene = _scene(tmp_path / "scene.tif", "one band")
    (tmp_path / "scene_std.qml").write_text("the user's")
    fit(scene, tiny_prior, uncertainty=False)
    fit(scene, Path("auto"), output=tmp_path / "tv.tif", method="tv", iterations=1)
    assert sorted(listing(tmp_path)) == ["scene.tif", "scene_restored.tif", "scene_std.qml", "tv.tif"]
    assert (tmp_path / "scene_std.qml").read_text() == "the user's"


def test_a_style_is_an_output_like_others(tmp_path: Path, tiny_prior: Path) -> None:
    scene = _scene(tmp_path / "scene.tif", "one band")
    with pytest.raises(InputError, match="two outputs have the same name"):
        fit(scene, tiny_prior, std=tmp_path / "scene_std.qml")
    style = tmp_path / "scene_std.qml"
    style.write_text("old")
    before = listing(tmp_path)
    with pytest.raises(InputError, match=r"scene_std\.qml exists; add --overwrite"):
        fit(scene, tiny_prior)
    assert listing(tmp_path) == before
    fit(scene, tiny_prior, overwrite=True)
    assert has_own_style(style)
    style.write_text(style.read_text().replace("<!-- written by imaging-restore -->\n", ""))
    assert not has_own_style(style), "QGIS drops the mark when a user changes the style and saves it"
    assert not has_own_style(scene)
