"""The report in a browser: what a person does with mouse, fingers and keyboard, against the rasters."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from imaging.report import report
from imaging.restoration import RestoreOptions, restore_scene
from tests.scenes import FURTHER, read, smooth, write_scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
SAMPLE = Path(__file__).parents[2] / "data" / "pleiades_like_pan.tif"
TOULOUSE = FURTHER / "pleiades_real" / "toulouse_pan.tif"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, whatever the distribution calls it."""
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def restored(scene: Path, sensor: str, folder: Path, iterations: int) -> Path:
    """Folder with the outputs of a quick restoration and its report."""
    restore_scene(
        scene, sensor, output=folder / "scene_restored.tif", std=folder / "scene_std.tif", options=RestoreOptions(iterations=iterations),
        afterwards=lambda job, result: (folder / "report.html").write_bytes(report(job, result)) and None,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of the sample scene."""
    return restored(SAMPLE, "pleiades-raw", tmp_path_factory.mktemp("sample"), 4)


class Page:
    """An open report."""

    def __init__(self, browser: Any, file: Path, **settings: Any) -> None:
        self.page = browser.new_page(**{"viewport": {"width": 1200, "height": 1000}} | settings)
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.complaints.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        folder = os.environ.get("IMAGING_SCREENSHOTS")
        if folder:
            name = os.environ.get("PYTEST_CURRENT_TEST", "page").split("::")[-1].split(" ")[0]
            self.page.screenshot(path=Path(folder) / f"{re.sub(r'[^a-z_0-9]', '-', name)}.png", full_page=True)
        self.page.close()
        assert self.complaints == []

    def settled(self) -> None:
        """Wait for what was asked for to be drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def pixels(self) -> np.ndarray[Any, Any]:
        """The canvas as it is shown, ``(H, W, 3)``."""
        self.settled()
        return np.asarray(Image.open(io.BytesIO(self.page.locator("#canvas").screenshot())).convert("RGB"))

    def box(self) -> dict[str, float]:
        """Place of the canvas on the page."""
        self.page.locator("#canvas").scroll_into_view_if_needed()
        return dict(self.page.locator("#canvas").bounding_box())

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place of the canvas."""
        box = self.box()
        self.page.mouse.move(box["x"] + x, box["y"] + y)

    def probed(self) -> tuple[int, int, list[str]]:
        """Row, column and the first band's numbers."""
        self.settled()
        cells = self.page.locator("#probe tbody tr").first.locator("td").all_inner_texts()
        return int(self.page.inner_text("#p-row")), int(self.page.inner_text("#p-column")), cells

    def zoom(self) -> int:
        """Percent."""
        self.settled()
        return int(self.page.inner_text("#zoom").split()[0])


def agree(probed: tuple[int, int, list[str]], scene: Path, folder: Path) -> None:
    """What the probe shows is what the rasters hold."""
    row, column, (measured, value, std, percent, interval) = probed
    y, x = read(scene)[0, row, column], read(folder / "scene_restored.tif")[0, row, column]
    s = read(folder / "scene_std.tif")[0, row, column]
    assert (float(measured), float(value)) == (y, x)
    assert float(std) == pytest.approx(s, rel=2e-3)
    assert float(percent) == pytest.approx(100 * s / x, rel=1e-2)
    low, high = (float(v) for v in interval.split(" to "))
    assert (low, high) == pytest.approx((x - 1.96 * s, x + 1.96 * s), rel=2e-3)


def test_the_probe_shows_the_rasters_values_under_the_mouse(browser: Any, sample: Path) -> None:
    with Page(browser, sample / "report.html") as page:
        box = page.box()
        seen = set()
        for x, y in ((0.5, 0.5), (0.4, 0.3), (0.62, 0.81)):
            page.point(x * box["width"], y * box["height"])
            agree(page.probed(), SAMPLE, sample)
            seen.add(page.probed()[:2])
        assert len(seen) == 3
        zoom = box["height"] / 512
        row, column, _ = page.probed()
        assert row == int(0.81 * box["height"] / zoom)
        assert column == int(256 + (0.12 * box["width"]) / zoom)


def test_the_probe_moves_by_keyboard(browser: Any, sample: Path) -> None:
    with Page(browser, sample / "report.html") as page:
        page.page.focus("#canvas")
        page.page.keyboard.press("ArrowRight")
        row, column, _ = page.probed()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Shift+ArrowLeft"):
            page.page.keyboard.press(key)
        moved = page.probed()
        assert moved[:2] == (row + 2, column + 1 - 10)
        agree(moved, SAMPLE, sample)


def test_the_slider_moves_by_mouse_and_keyboard_and_shows_both_sides(browser: Any, sample: Path) -> None:
    with Page(browser, sample / "report.html") as page:
        box = page.box()
        middle = page.pixels()
        page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2, steps=4)
        page.page.mouse.up()
        assert float(page.page.input_value("#split")) == pytest.approx(70, abs=1)
        dragged = page.pixels()
        at = slice(int(0.52 * box["width"]), int(0.62 * box["width"]))
        assert (middle[100:, at] != dragged[100:, at]).any()  # what was restored is now measured
        np.testing.assert_array_equal(middle[100:, : int(0.45 * box["width"])], dragged[100:, : int(0.45 * box["width"])])
        page.page.focus("#split")
        page.page.keyboard.press("Home")
        restored_only = page.pixels()
        page.page.keyboard.press("End")
        measured_only = page.pixels()
        left, right = slice(int(0.3 * box["width"]), int(0.45 * box["width"])), at
        np.testing.assert_array_equal(middle[100:300, left], measured_only[100:300, left])
        np.testing.assert_array_equal(middle[100:300, right], restored_only[100:300, right])
        page.page.focus("#canvas")
        page.page.keyboard.press("[")
        assert float(page.page.input_value("#split")) == pytest.approx(95)


def test_zoom_and_pan_show_single_pixels_of_both(browser: Any, sample: Path) -> None:
    with Page(browser, sample / "report.html") as page:
        box = page.box()
        before = page.zoom()
        page.point(box["width"] / 2 + 100, box["height"] / 2)
        for _ in range(8):
            page.page.mouse.wheel(0, -400)
        assert page.zoom() > 10 * before
        page.page.select_option("#mode", "beside")
        page.page.focus("#canvas")
        for _ in range(12):
            page.page.keyboard.press("+")
        assert page.zoom() == 6400
        page.point(0.75 * box["width"], box["height"] / 2)
        row, column, _ = page.probed()
        shown = page.pixels()
        inside = (int(box["height"] / 2) + 10, int(0.75 * box["width"]) + 10)
        stretch = page.page.evaluate("() => JSON.parse(document.getElementById('data').textContent).stretch[0]")
        for name, shift in (("scene_restored.tif", 0), ("measured", -int(box["width"] / 2))):
            values = read(SAMPLE if name == "measured" else sample / name)[0]
            grey = 255 * (float(values[row, column]) - stretch[0]) / (stretch[1] - stretch[0])
            assert abs(int(shown[inside[0], inside[1] + shift, 0]) - np.clip(grey, 0, 255)) <= 1.5, name
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + 0.75 * box["width"] - 128, box["y"] + box["height"] / 2 - 64, steps=3)
        page.page.mouse.up()
        page.point(0.75 * box["width"], box["height"] / 2)
        assert page.probed()[:2] == (row + 1, column + 2)
        page.page.click("#fit")
        page.page.click("#one")
        assert page.zoom() == 100


def test_the_overlay_has_the_colours_of_its_scale(browser: Any, sample: Path) -> None:
    with Page(browser, sample / "report.html") as page:
        assert not page.page.is_visible("#scale")
        page.page.select_option("#overlay", "std")
        page.page.locator("#opacity").fill("100")
        page.page.locator("#split").fill("0")
        marks = page.page.locator("#marks span").all_inner_texts()
        std = read(sample / "scene_std.tif")[0]
        low, high = np.quantile(std, (0.02, 0.98))
        assert float(marks[0].split()[0]) == pytest.approx(low, rel=0.02)
        assert float(marks[2].split()[0]) == pytest.approx(high, rel=0.02)
        assert all(re.search(r"DN = [\d.]+ % of the mean", m) for m in marks)
        box = page.box()
        page.point(0.5 * box["width"], 0.25 * box["height"])
        row, column, _ = page.probed()
        page.page.mouse.move(1, 1)
        table = page.page.evaluate("() => JSON.parse(document.getElementById('data').textContent).viridis")
        for _ in range(8):
            page.page.focus("#canvas")
            page.page.keyboard.press("+")
        page.page.keyboard.press("ArrowRight")
        page.page.keyboard.press("ArrowLeft")
        shown = page.pixels()
        expected = table[int(np.clip(round(255 * (std[row, column] - low) / (high - low)), 0, 255))]
        distance = np.abs(shown.astype(int) - expected).sum(-1)
        assert int(distance.min()) <= 6


def test_the_theme_changes_and_follows_the_system(browser: Any, sample: Path) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    with Page(browser, sample / "report.html", color_scheme="dark") as page:
        dark = page.page.evaluate(ground)
        page.page.focus("#theme")
        page.page.keyboard.press("Enter")
        assert page.page.evaluate(ground) == dark
        page.page.keyboard.press("Enter")
        light = page.page.evaluate(ground)
        assert light != dark
    with Page(browser, sample / "report.html", color_scheme="light") as page:
        assert page.page.evaluate(ground) == light


def test_fingers_on_a_phone(browser: Any, sample: Path) -> None:
    settings = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    with Page(browser, sample / "report.html", **settings) as page:
        assert page.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        box = page.box()
        page.page.touchscreen.tap(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2)
        agree(page.probed(), SAMPLE, sample)


def test_what_a_file_says_of_itself_is_text_and_no_markup(browser: Any, tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).round().astype(np.uint16))
    evil = "<img src=x onerror=document.title='broken'>"
    with rasterio.open(path, "r+") as target:
        target.units = (evil,)
        target.descriptions = (evil,)
    page_file = tmp_path / "report.html"
    restore_scene(
        path, "pleiades-raw", options=RestoreOptions(method="tv"),
        afterwards=lambda job, result: page_file.write_bytes(report(job, result)) and None,
    )  # fmt: skip
    with Page(browser, page_file) as page:
        page.page.select_option("#overlay", "change")
        page.page.focus("#canvas")
        page.page.keyboard.press("ArrowRight")
        page.settled()
        assert page.page.title() == "scene.tif restored"
        assert evil in page.page.inner_text("#probe")
        assert page.page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_anybody(browser: Any, sample: Path, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with Page(browser, sample / "report.html", color_scheme=scheme) as page:
        page.page.select_option("#overlay", "std")
        page.page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.page.focus("#canvas")
        page.page.keyboard.press("ArrowRight")
        found = Axe().run(page.page).response
        assert len(found["passes"]) > 20
        assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found["violations"] if v["impact"] in {"serious", "critical"}] == []


@pytest.mark.skipif(not TOULOUSE.exists(), reason="the Toulouse scene is not redistributable; name its folder with IMAGING_DATA")
def test_the_toulouse_scene(browser: Any, tmp_path: Path) -> None:
    folder = restored(TOULOUSE, "pleiades", tmp_path, 2)
    assert (folder / "report.html").stat().st_size < 15_000_000
    with Page(browser, folder / "report.html") as page:
        box = page.box()
        page.point(0.6 * box["width"], 0.4 * box["height"])
        agree(page.probed(), TOULOUSE, folder)
