"""The report as a file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from imaging.report import page, report
from imaging.restoration import RestoreOptions, restore_scene
from tests.report.packed import unpack
from tests.scenes import read, smooth, write_scene


def made(scene: Path, prior: Path, sensor: str = "pleiades-raw", **options: Any) -> str:
    """The report of a small restoration."""
    pages: list[bytes] = []
    settings = RestoreOptions(**{"prior": str(prior), "iterations": 2, "tile": 64, "halo": 16} | options)
    restore_scene(scene, sensor, options=settings, afterwards=lambda job, result: pages.append(report(job, result)))
    return pages[0].decode("utf-8")


def data_of(text: str) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def layer(data: dict[str, Any], view: int, name: str) -> np.ndarray[Any, Any]:
    """An image of a view."""
    shown = data["views"][view]
    return unpack(shown["layers"][name], (len(data["bands"]), shown["height"], shown["width"]))


class Outside(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is fetched, count scripts."""
        self.scripts += tag == "script"
        self.found += [str(v) for k, v in attrs if k in {"src", "href", "action", "srcset", "poster", "data"}]


def test_the_page_holds_the_rasters_values(tmp_path: Path, tiny_prior: Path) -> None:
    values = smooth(1, 90, 120).round().astype(np.uint16)
    values[0, :8, :8] = 0
    text = made(write_scene(tmp_path / "scene.tif", values, nodata=0), tiny_prior)
    data = data_of(text)
    restored, std = read(tmp_path / "scene_restored.tif").astype(float), read(tmp_path / "scene_std.tif")
    valid = values != 0
    np.testing.assert_array_equal(layer(data, 0, "measured")[valid], values[valid])
    np.testing.assert_array_equal(layer(data, 0, "restored")[valid], restored[valid])
    np.testing.assert_allclose(layer(data, 0, "std")[valid], std[valid], rtol=1e-3)
    assert np.isnan(layer(data, 0, "restored")[~valid]).all()
    assert data["geo"]["crs"] == "EPSG:32631"
    assert [v["name"] for v in data["views"]] == ["Whole scene"]


def test_the_page_needs_nothing_from_outside(tmp_path: Path, tiny_prior: Path) -> None:
    text = made(write_scene(tmp_path / "<!--data-->&'.tif", smooth(1, 64, 64).round().astype(np.uint16)), tiny_prior)
    parser = Outside()
    parser.feed(text)
    assert parser.found == []
    assert "default-src 'none'" in text
    assert not re.search(r"<!--\w+-->", text)  # every place of the template is filled, once
    assert "&lt;!--data--&gt;&amp;" in text
    assert len(data_of(text)["views"]) == 1


def test_a_large_scene_is_shown_as_overview_and_places(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_SIZES", (page.Shown(100, 64, 1), page.Shown(60, 32, 1)))
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 192, 256).round().astype(np.uint16))
    data = data_of(made(scene, tiny_prior))
    restored = read(tmp_path / "scene_restored.tif").astype(float)
    assert [v["name"] for v in data["views"]] == ["Whole scene", "Least certain 1", "Most changed 1", "By chance 1"]
    assert data["views"][0]["step"] == 3
    np.testing.assert_allclose(layer(data, 0, "restored")[0, 0, 0], restored[0, :3, :3].mean(), atol=0.02)
    change = np.abs(restored - read(scene).astype(float))
    np.testing.assert_allclose(layer(data, 0, "change")[0, 0, 0], change[0, :3, :3].mean(), atol=0.02)
    for k, view in enumerate(data["views"][1:], start=1):
        row, column = view["row"], view["column"]
        np.testing.assert_array_equal(layer(data, k, "restored"), restored[:, row : row + 64, column : column + 64])
    full = len(made(scene.rename(tmp_path / "again.tif"), tiny_prior))
    monkeypatch.setattr(page, "LARGEST", full - 1000)
    smaller = data_of(made((tmp_path / "again.tif").rename(tmp_path / "third.tif"), tiny_prior))
    assert smaller["views"][1]["width"] == 32  # what does not fit is shown with fewer pixels


def test_of_many_bands_four_are_shown(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(6, 64, 64).round().astype(np.uint16))
    text = made(scene, tiny_prior, "generic", noise=(10.0, 0.0))
    data = data_of(text)
    assert data["bands"] == ["band 1", "band 2", "band 3", "band 4"]
    assert "Of 6 bands these are shown: band 1, band 2, band 3, band 4." in text


def test_what_a_file_calls_its_bands_stays_text(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(5, 64, 64).round().astype(np.uint16))
    with rasterio.open(scene, "r+") as target:
        target.descriptions = ("<script>alert(1)</script>", "<!--data-->", "&amp;", "c", "d")
    text = made(scene, tiny_prior, "generic", noise=(10.0, 0.0))
    parser = Outside()
    parser.feed(text)
    assert parser.scripts == 2  # the data and the page's own
    assert data_of(text)["bands"][:2] == ["<script>alert(1)</script>", "<!--data-->"]
    assert "these are shown: &lt;script&gt;alert(1)&lt;/script&gt;, &lt;!--data--&gt;, &amp;amp;, c." in text
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text  # no other script may run


def test_colours_and_names_are_those_of_the_file(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", smooth(4, 64, 64).round().astype(np.uint16))
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("Blue", "Green", "Red", "Infrared")
        target.units = ("photons",) * 4
    pages: list[bytes] = []
    options = RestoreOptions(method="tv", noise=(10.0, 0.0))
    restore_scene(path, "generic", options=options, afterwards=lambda j, r: pages.append(report(j, r)))
    text = pages[0].decode()
    data = data_of(text)
    assert (data["bands"], data["colour"], data["natural"]) == (["Blue", "Green", "Red", "Infrared"], [2, 1, 0], True)
    assert data["unit"] == "photons"
    assert "standard deviation, photons" in text
    assert "<h3>Band Infrared</h3>" in text


def test_a_method_without_standard_deviations_has_a_report_without_them(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).round().astype(np.uint16))
    pages: list[bytes] = []
    restore_scene(scene, "pleiades-raw", options=RestoreOptions(method="tv"), afterwards=lambda j, r: pages.append(report(j, r)))
    data = data_of(pages[0].decode())
    assert set(data["views"][0]["layers"]) == {"measured", "restored"}


def test_at_scale_2_the_measured_layer_repeats_its_pixels(tmp_path: Path, tiny_prior: Path) -> None:
    values = smooth(1, 64, 96).round().astype(np.uint16)
    data = data_of(made(write_scene(tmp_path / "scene.tif", values), tiny_prior, scale=2))
    np.testing.assert_array_equal(layer(data, 0, "measured"), values.repeat(2, 1).repeat(2, 2))
    assert (data["views"][0]["height"], data["views"][0]["width"]) == (128, 192)
