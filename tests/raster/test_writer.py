"""Finished tiles and outputs: whole or not there at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio._err import CPLE_AppDefinedError
from rasterio.errors import RasterioIOError

from imaging.errors import InputError, WorkError
from imaging.raster import Area, Output, Scene, Tile, TileStore, disk_errors, publish, write_output
from tests.scenes import listing, read, smooth, write_scene

TILES = [Tile(0, Area(0, 0, 64, 96), Area(0, 0, 64, 96)), Tile(1, Area(64, 0, 36, 96), Area(64, 0, 36, 96))]
VALUES = smooth(2, 100, 96).astype(np.uint16)


@pytest.fixture
def store(tmp_path: Path) -> TileStore:
    """A run that has stored both halves of VALUES."""
    found = TileStore(tmp_path / "out.tif", {"seed": 1})
    found.open(resume=False)
    for tile in TILES:
        found.put(tile, {"restored": VALUES[:, tile.core.row : tile.core.row + tile.core.height]})
    return found


def product(path: Path, **changes: Any) -> Output:
    settings = {"path": path, "array": "restored", "bands": (1, 2), "passed": (), "dtype": "uint16", "nodata": None}
    return Output(**settings | {"same_quantity": True, "tags": {"A": "b"}} | changes)


def test_tiles_come_back_as_they_were_put(store: TileStore) -> None:
    np.testing.assert_array_equal(np.concatenate([store.get(t, "restored") for t in TILES], 1), VALUES)
    assert sorted(p.name for p in store.folder.iterdir()) == ["0.npz", "1.npz", "lock", "run.json"]


def test_a_run_is_taken_over_with_the_same_settings_only(store: TileStore) -> None:
    store.close()
    again = TileStore(store.target, {"seed": 1})
    again.open(resume=True)
    assert again.has(TILES[1])
    again.close()
    with pytest.raises(InputError, match="begun with other settings or another input; run without --resume"):
        TileStore(store.target, {"seed": 2}).open(resume=True)
    assert again.has(TILES[1]), "a refusal destroys nothing"
    again.open(resume=False)
    assert not again.has(TILES[1])


def test_resuming_what_never_began_is_a_fresh_start(tmp_path: Path) -> None:
    store = TileStore(tmp_path / "out.tif", {})
    store.open(resume=True)
    assert not store.has(TILES[0])


def test_a_tile_that_cannot_be_stored_is_not_there(store: TileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    third = Tile(2, Area(0, 0, 1, 1), Area(0, 0, 1, 1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"the disk of .* is full; free some space or choose another --output"):
        store.put(third, {"restored": VALUES})
    assert not store.has(third)


def test_outputs_elsewhere_are_assembled_beside_their_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, near, far = tmp_path / "a" / "x.tif", tmp_path / "a" / "x_std.tif", tmp_path / "b" / "x_std.tif"
    store = TileStore(first, {}, (first, near, far))
    store.open(resume=False)
    assert store.beside(near) == store.beside(first) == tmp_path / "a" / ".x.tif.partial"
    assert store.beside(far) == tmp_path / "b" / ".x_std.tif.partial"
    assert store.beside(far).is_dir()
    store.discard()
    assert listing(tmp_path) == {"a": None, "b": None}


@pytest.mark.parametrize("place", ["a", "b"])
@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_no_run_made_is_left_alone(tmp_path: Path, place: str, kind: str) -> None:
    """A folder, a link or a file that only has the name of a run's hidden folder, beside either output."""
    for name in ("a", "b", "mine"):
        (tmp_path / name).mkdir()
    outputs = (tmp_path / "a" / "x.tif", tmp_path / "b" / "x_std.tif")
    hidden = tmp_path / place / (".x.tif.partial" if place == "a" else ".x_std.tif.partial")
    if kind == "folder":
        hidden.mkdir()
        (hidden / "kept.txt").write_text("mine")
    elif kind == "link":
        (tmp_path / "mine" / "kept.txt").write_text("mine")
        hidden.symlink_to(tmp_path / "mine")
    else:
        hidden.write_text("mine")
    before = listing(tmp_path)
    for resume in (False, True):
        with pytest.raises(InputError, match=r"is no folder of a run; move it away"):
            TileStore(outputs[0], {}, outputs).open(resume=resume)
    assert listing(tmp_path) == before


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = TileStore(tmp_path / "out.tif", {}, (tmp_path / "out.tif", tmp_path / "nowhere" / "std.tif"))
    with pytest.raises(InputError, match=r"the output folder .*nowhere cannot be written to"):
        store.open(resume=False)
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left"), "is full"),
        (OSError(errno.EDQUOT, "Quota"), "is full"),
        (OSError(errno.EROFS, "Read-only file system"), r"cannot be written to \(Read-only file system\)"),
        (RasterioIOError("Write failed.\nmore"), r"its disk may be full \(Write failed\)"),
        (CPLE_AppDefinedError(3, 1, "TIFFAppendToStrip: write error"), r"its disk may be full \(.*write error\)"),
    ],
)
def test_what_a_disk_raises_becomes_a_sentence(tmp_path: Path, error: Exception, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence), disk_errors(tmp_path):
        raise error


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError), disk_errors(tmp_path):
        raise TimeoutError(errno.ETIMEDOUT, "timed out")


def test_a_product_is_a_cog_of_the_stored_values(tmp_path: Path, store: TileStore) -> None:
    with Scene(write_scene(tmp_path / "scene.tif", VALUES)) as scene:
        path = write_output(scene, product(tmp_path / "out.tif"), TILES, store)
    np.testing.assert_array_equal(read(path), VALUES)
    with rasterio.open(path) as written:
        assert written.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert written.tags()["A"] == "b"


def test_a_product_that_lost_pixels_is_noticed(tmp_path: Path, store: TileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = VALUES.copy()
    damaged[1, 40, 50] += 1
    faithful = rasterio.shutil.copy

    def faulty(plain: Path, cog: Path, **options: Any) -> None:
        with rasterio.open(plain, "r+") as target:
            target.write(damaged)
        faithful(plain, cog, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", faulty)
    with Scene(write_scene(tmp_path / "scene.tif", VALUES)) as scene, pytest.raises(WorkError, match="differs from what was computed"):
        write_output(scene, product(tmp_path / "out.tif"), TILES, store)


def test_statistics_of_the_old_pixels_are_not_copied(tmp_path: Path, store: TileStore) -> None:
    write_scene(tmp_path / "scene.tif", VALUES)
    with rasterio.open(tmp_path / "scene.tif", "r+") as target:
        target.update_tags(1, STATISTICS_MEAN="1200", WAVELENGTH="0.6")
    with Scene(tmp_path / "scene.tif") as scene:
        path = write_output(scene, product(tmp_path / "out.tif"), TILES, store)
    with rasterio.open(path) as written:
        tags = written.tags(1)
    assert tags["WAVELENGTH"] == "0.6"
    assert float(tags["STATISTICS_MEAN"]) == pytest.approx(VALUES[0].mean(dtype=float), rel=1e-12)


def test_publishing_replaces_a_raster_and_what_described_it(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    for suffix in ("", ".aux.xml", ".ovr", ".msk"):
        (tmp_path / f"out.tif{suffix}").write_text("old")
    (tmp_path / "out.tfw").write_text("the user's")
    publish([(tmp_path / "new", tmp_path / "out.tif")])
    assert listing(tmp_path) == {"out.tif": b"new", "out.tfw": b"the user's"}
