"""The quicklook: what its pixels show is what the rasters hold."""

from __future__ import annotations

import errno
import io
import json
import os
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.errors import InputError
from imaging.raster import Scene, write_whole
from imaging.report.colours import NOTHING, diverging, viridis
from imaging.report.drawing import GAP, MARGIN
from imaging.report.excerpt import excerpt, liveliest
from imaging.report.layers import Trio
from imaging.report.picture import picture_bands, quicklook
from imaging.restoration import RestoreOptions, restore_scene
from imaging.sensors import Band, SensorProfile, load_profile
from tests.cli.commands import invoke, restore, sentence
from tests.scenes import listing, read, smooth, write_scene

TOP, FRAME = MARGIN + 48 + 30, (232, 30, 70)


def colours() -> SensorProfile:
    """A sensor with blue, green, red and near infrared."""
    pan = load_profile("pleiades-raw").bands[0]
    bands = tuple(replace(pan, name=n, common_name=n) for n in ("blue", "green", "red", "nir"))
    return SensorProfile("colours", "raw", 12, bands, "of a test")


@dataclass
class Made:
    """A restoration and its picture."""

    picture: Any
    size: int
    measured: Any
    restored: Any
    std: Any
    bands: tuple[Band, ...]


def made(scene: Path, prior: Path, sensor: Any = "pleiades-raw", **changes: Any) -> Made:
    """Restore a small scene and draw it."""
    found: list[Any] = []
    settings = {"prior": str(prior), "iterations": 1, "tile": 64, "halo": 16} | changes
    result = restore_scene(
        scene, sensor, options=RestoreOptions(**settings), afterwards=lambda job, r: found.extend((job.bands, quicklook(job, r)))
    )
    picture = np.asarray(Image.open(io.BytesIO(found[1])))
    std = None if result.std is None else read(Path(result.std))
    return Made(picture, len(found[1]), read(scene), read(Path(result.restored)), std, found[0])


def panel(made: Made, column: int, shape: tuple[int, int], top: int = TOP) -> Any:
    """A panel of so many pixels; columns are as wide as it."""
    left = MARGIN + column * (shape[1] + GAP)
    return made.picture[top : top + shape[0], left : left + shape[1]]


def grey(values: Any, like: Any) -> Any:
    """Grey of values between percentiles of others."""
    low, high = np.percentile(like, (2, 98))
    return np.rint(255 * ((values.astype(float) - low) / (high - low)).clip(0, 1))


def agree(panel: Any, expected: Any, zoom: int) -> None:
    """A panel shows expected colours ``(H, W, 3)``, magnified, but for the frame; one step of rounding is allowed."""
    large = expected.repeat(zoom, 0).repeat(zoom, 1)
    assert panel.shape == large.shape
    apart = np.abs(panel.astype(int) - large).max(-1)
    framed = (panel == FRAME).all(-1)
    assert framed.mean() < 0.1
    assert apart[~framed].max() <= 1


def test_one_band_in_grey_beside_its_standard_deviation(tmp_path: Path, tiny_prior: Path) -> None:
    found = made(write_scene(tmp_path / "scene.tif", smooth(1, 96, 128).astype(np.uint16)), tiny_prior)
    assert found.size < 2e6
    assert found.picture.shape[1] == 2 * MARGIN + 3 * 512 + 2 * GAP <= 2000
    for column, values in enumerate((found.measured[0], found.restored[0])):
        expected = np.repeat(grey(values, found.measured[0])[..., None], 3, -1)
        agree(panel(found, column, (384, 512)), expected, 4)
    low, high = np.percentile(found.std[0], (2, 98))
    index = np.rint(255 * ((found.std[0].astype(float) - low) / (high - low)).clip(0, 1)).astype(int)
    shown = panel(found, 2, (384, 512))[2::4, 2::4]
    off_frame = (shown != FRAME).any(-1)
    for end, at in ((0, found.std[0] <= low), (255, found.std[0] >= high)):
        assert (shown[at & off_frame] == viridis()[end]).all()
    steps = np.stack([viridis()[(index + k).clip(0, 255)] for k in (-1, 0, 1)])
    assert (steps == shown).all(-1).any(0)[off_frame].all()


def test_the_detail_is_the_liveliest_place_pixel_by_pixel(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = np.full((1, 96, 128), 1000.0)
    pixels[0, 32:56, 64:96] += 400 * np.random.default_rng(0).random((24, 32))
    found = made(write_scene(tmp_path / "scene.tif", pixels.astype(np.uint16)), tiny_prior)
    with Scene(tmp_path / "scene_restored.tif") as restored:
        area = liveliest(restored, [0], np.percentile(found.measured[0], (2, 98))[None], (24, 32))
    assert max(abs(area.row - 32), abs(area.column - 64)) <= 3, "on a lattice of three pixels"
    part = (slice(area.row, area.row + 24), slice(area.column, area.column + 32))
    for column, values in enumerate((found.measured[0], found.restored[0])):
        expected = np.repeat(grey(values, found.measured[0])[part][..., None], 3, -1)
        agree(panel(found, column, (384, 512), TOP + 384 + 30), expected, 16)
    frame = (panel(found, 0, (384, 512)) == FRAME).all(-1)
    rows, columns = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
    assert (rows[0], rows[-1]) == (4 * area.row - 2, 4 * (area.row + 24) + 1)
    assert (columns[0], columns[-1]) == (4 * area.column - 2, 4 * (area.column + 32) + 1)


def test_four_bands_in_their_colours_and_pixels_without_data(tmp_path: Path, tiny_prior: Path) -> None:
    pixels = smooth(4, 64, 64).astype(np.uint16)
    pixels[:, :20, :30] = 0
    found = made(write_scene(tmp_path / "scene.tif", pixels, nodata=0), tiny_prior, colours())
    assert [b.common_name for b in found.bands] == ["blue", "green", "red", "nir"]
    valid = found.measured[0] > 0
    for column, values in enumerate((found.measured, found.restored)):
        channels = [grey(values[b], found.measured[b][valid]) for b in (2, 1, 0)]
        agree(panel(found, column, (512, 512)), np.where(valid[..., None], np.stack(channels, -1), NOTHING), 8)
    uncertain = panel(found, 2, (512, 512))[3::8, 3::8]
    assert (uncertain[~valid] == NOTHING).all()
    mean = found.std[:3].astype(float).mean(0)
    low = np.nanpercentile(mean, 2)
    assert (uncertain[(mean < low) & (uncertain != FRAME).any(-1)] == viridis()[0]).all()


def test_at_scale_2_what_was_measured_is_repeated(tmp_path: Path, tiny_prior: Path) -> None:
    found = made(write_scene(tmp_path / "scene.tif", smooth(1, 48, 64).astype(np.uint16)), tiny_prior, scale=2)
    expected = np.repeat(grey(found.measured[0], found.measured[0])[..., None], 3, -1)
    agree(panel(found, 0, (384, 512)), expected, 8)
    agree(panel(found, 1, (384, 512)), np.repeat(grey(found.restored[0], found.measured[0])[..., None], 3, -1), 4)


def test_without_standard_deviations_the_difference_is_shown(tmp_path: Path) -> None:
    found = made(write_scene(tmp_path / "scene.tif", smooth(1, 96, 128).astype(np.uint16)), Path("auto"), method="tv")
    assert found.std is None
    change = found.restored[0].astype(float) - found.measured[0]
    most = np.percentile(np.abs(change), 98)
    index = np.rint(255 * ((change + most) / (2 * most)).clip(0, 1)).astype(int)
    agree(panel(found, 2, (384, 512)), diverging()[index].astype(int), 4)
    assert diverging()[128].min() > 240


def test_a_large_scene_is_decimated_to_means_of_valid_pixels(tmp_path: Path) -> None:
    values = smooth(1, 1300, 1700).astype(np.uint16)
    values[:, :301, :400] = 0
    path = write_scene(tmp_path / "a.tif", values, nodata=0)
    with Scene(path) as scene:
        found = excerpt(Trio(scene, scene, None), [0], 640)
    assert found.step == 3
    assert found.overview["measured"].shape == (1, 434, 567)
    known = np.where(values[0] > 0, values[0], np.nan).astype(float)
    padded = np.pad(known, ((0, 2), (0, 1)), constant_values=np.nan).reshape(434, 3, 567, 3)
    some = np.isfinite(padded).any((1, 3))
    np.testing.assert_allclose(found.overview["measured"][0][some], np.nanmean(padded.swapaxes(1, 2)[some], axis=(1, 2)), rtol=1e-6)
    assert np.isnan(found.overview["measured"][0][~some]).all()
    a = found.area
    np.testing.assert_array_equal(found.detail["measured"][0], known[a.row : a.row + a.height, a.column : a.column + a.width])
    assert (a.height, a.width) == (434 // 4, 567 // 4)


@pytest.mark.parametrize(
    ("names", "bands"),
    [(["pan"], [0]), (["blue", "green", "red", "nir"], [2, 1, 0]), ([None, None, None], [0]), (["red", "green"], [0])],
)
def test_bands_that_are_shown(names: list[str | None], bands: list[int]) -> None:
    assert picture_bands(names) == bands


def test_a_picture_of_pure_noise_gets_smaller_panels(tmp_path: Path, tiny_prior: Path) -> None:
    """The worst case for the file's size; nothing is fitted, the measured scene stands in for all rasters."""
    noise = np.random.default_rng(0).integers(1, 4000, (4, 560, 560)).astype(np.uint16)
    small = write_scene(tmp_path / "small.tif", noise[:, :64, :64])
    jobs: list[Any] = []
    options = RestoreOptions(prior=str(tiny_prior), iterations=1, tile=64, halo=16)
    result = restore_scene(small, colours(), output=tmp_path / "out.tif", options=options, afterwards=lambda job, _: jobs.append(job))
    for name in ("out.tif", "out_std.tif"):
        write_scene(tmp_path / name, noise)
    with Scene(write_scene(tmp_path / "n.tif", noise)) as scene:
        again = copy(jobs[0])
        again.scene = scene
        data = quicklook(again, replace(result, sensor="s" * 500))
    assert len(data) < 2e6
    width = Image.open(io.BytesIO(data)).size[0]
    assert width < 2 * MARGIN + 3 * 560 + 2 * GAP


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).astype(np.uint16))


def test_the_command_writes_it_whole(scene: Path, tiny_prior: Path) -> None:
    target = scene.with_name("look.png")
    told = restore(scene, tiny_prior, "--quicklook", target)
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[-1].split() == ["quicklook", str(target)]
    assert sorted(listing(scene.parent)) == ["look.png", "scene.tif", "scene_restored.tif", "scene_std.qml", "scene_std.tif"]
    with Image.open(target) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
    before = listing(scene.parent)
    planned = restore(scene, tiny_prior, "--quicklook", target, "--overwrite", "--dry-run", "--json")
    assert json.loads(planned.stdout)["outputs"][-1] == str(target)
    again = restore(scene, tiny_prior, "--quicklook", target, "--overwrite", "--json")
    assert json.loads(again.stdout)["quicklook"] == str(target)
    assert listing(scene.parent) == before, "the same command gives the same bytes"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("look.jpg", "does not end in .png; name it such as"),
        ("no/look.png", "does not exist; create it"),
        ("here.png", "is a folder; give the name of a file"),
        ("old.png", "old.png exists; add --overwrite to replace it"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_bad_place_is_refused_before_work_begins(scene: Path, tiny_prior: Path, target: str, said: str, more: list[str]) -> None:
    (scene.parent / "here.png").mkdir()
    (scene.parent / "old.png").write_text("old")
    before = listing(scene.parent)
    assert said in sentence(restore(scene, tiny_prior, "--quicklook", scene.parent / target, *more))
    assert listing(scene.parent) == before


def test_inputs_and_outputs_are_no_place_for_it(scene: Path, tiny_prior: Path) -> None:
    picture = scene.rename(scene.with_name("scene.png"))  # its content says what it is
    (scene.parent / "link.png").symlink_to(picture)
    before = listing(scene.parent)
    for target in ("scene.png", "link.png", "../" + scene.parent.name + "/scene.png"):
        told = sentence(restore(picture, tiny_prior, "--quicklook", scene.parent / target, "--overwrite"))
        assert "is read as an input" in told
    output = scene.parent / "out.png"
    told = sentence(restore(picture, tiny_prior, "--output", output, "--quicklook", output))
    assert "two outputs have the same name" in told
    assert listing(scene.parent) == before


def test_it_is_for_one_scene(scene: Path, tiny_prior: Path) -> None:
    told = sentence(restore(scene.parent, tiny_prior, "--output", scene.parent / "out", "--quicklook", scene.parent / "a.png"))
    assert "--quicklook is for one scene" in told
    assert "quicklook" in invoke("--help").stdout


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "look.png").write_text("old")
    before = listing(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="is full"):
        write_whole(tmp_path / "look.png", b"new")
    assert listing(tmp_path) == before


def test_a_picture_that_cannot_be_written_leaves_the_restored_scene(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imaging import raster

    def full(path: Path, data: bytes) -> None:
        raise InputError(f"the disk of {path.parent} is full")

    monkeypatch.setattr(raster, "write_whole", full)
    told = sentence(restore(scene, tiny_prior, "--quicklook", scene.with_name("look.png")), code=1)
    assert "the scene is restored, but" in told
    assert sorted(listing(scene.parent)) == ["scene.tif", "scene_restored.tif", "scene_std.qml", "scene_std.tif"]
