"""What can go wrong while a scene is restored leaves nothing half-written, and what was finished is not lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imaging.errors import WorkError
from imaging.restoration import Restoration
from imaging.restoration.fitting import Fitter
from tests.scenes import fit, listing, read, smooth, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Three by three tiles of 64 pixels."""
    return write_scene(tmp_path / "scene.tif", smooth(1, 192, 192).astype(np.uint16))


def before_fit(monkeypatch: pytest.MonkeyPatch, action: Callable[[int, int], None]) -> None:
    """Call ``action`` with the number of fits made and the size of the batch, before each."""
    original, made = Fitter.__call__, [0]

    def wrapped(self: Fitter, values: Any, *arguments: Any) -> Any:
        action(made[0], len(values))
        made[0] += 1
        return original(self, values, *arguments)

    monkeypatch.setattr(Fitter, "__call__", wrapped)


def test_runs_killed_at_any_moment_are_resumed_to_the_same_bytes(scene: Path, tiny_prior: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.restoration.kills", str(scene), str(tiny_prior), "20"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    met, changes = map(int, done.stdout.split())
    assert met >= 10
    assert changes >= 12


def test_a_scene_that_changes_while_it_is_restored_is_not_published(
    scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    before_fit(monkeypatch, lambda made, _: write_scene(scene, smooth(1, 192, 192, 1).astype(np.uint16)) if made == 3 else None)
    with pytest.raises(WorkError, match="changed while it was restored; nothing is written"):
        fit(scene, tiny_prior)
    assert list(listing(scene.parent)) == ["scene.tif"]


def test_a_scene_that_vanishes_while_it_is_restored_is_not_published(
    scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    before_fit(monkeypatch, lambda made, _: scene.unlink() if made == 3 else None)
    with pytest.raises(WorkError, match="changed while it was restored"):
        fit(scene, tiny_prior)
    assert listing(scene.parent) == {}


def test_statistics_that_appear_beside_the_scene_do_not_matter(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_fit(monkeypatch, lambda made, _: Path(f"{scene}.aux.xml").write_text("<PAMDataset/>") if made == 3 else None)
    fit(scene, tiny_prior)
    assert {"scene_restored.tif", "scene_std.tif"} < set(listing(scene.parent))


@pytest.mark.parametrize("kind", ["device", "machine"])
def test_batches_that_the_memory_does_not_hold_are_halved_once_for_all(
    scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    fit(scene, tiny_prior)
    alone, whole = listing(scene.parent), read(scene.with_name("scene_restored.tif")).astype(int)
    sizes: list[int] = []
    error = torch.OutOfMemoryError("CUDA out of memory") if kind == "device" else RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def limited(_: int, size: int) -> None:
        sizes.append(size)
        if size > 2:
            raise error

    before_fit(monkeypatch, limited)
    fit(scene, tiny_prior, batch=5, overwrite=True)
    assert sizes == [5, 2, 2, 1, 2, 2]
    assert listing(scene.parent).keys() == alone.keys()
    assert np.abs(read(scene.with_name("scene_restored.tif")).astype(int) - whole).max() <= 1, "but for the rounding of batches"


def test_a_window_that_the_memory_does_not_hold_asks_for_smaller_tiles(
    scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def refuse(made: int, _: int) -> None:
        if made:
            raise torch.OutOfMemoryError("CUDA out of memory")

    before_fit(monkeypatch, refuse)
    with pytest.raises(WorkError, match=r"the memory does not suffice for one window of \d+ x \d+ pixels; choose a smaller --tile"):
        fit(scene, tiny_prior)
    assert list(listing(scene.parent)) == ["scene.tif"]


def test_a_disk_that_is_full_after_some_tiles_leaves_nothing(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from imaging.errors import InputError
    from imaging.raster import store

    original, put = store.sync, []

    def full(path: Path) -> None:
        put.append(path)
        if len(put) > 9:  # a file and its folder each time
            raise OSError(errno.ENOSPC, "No space left on device")
        original(path)

    monkeypatch.setattr(store, "sync", full)
    with pytest.raises(InputError, match="is full; free some space"):
        fit(scene, tiny_prior)
    assert list(listing(scene.parent)) == ["scene.tif"]


def test_reading_fitting_and_writing_overlap_and_memory_is_bounded(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, fitted = [0], [0]
    original = Restoration.read

    def counted(*arguments: Any) -> Any:
        loaded[0] += 1
        assert loaded[0] - fitted[0] <= 4
        return original(*arguments)

    monkeypatch.setattr(Restoration, "read", counted)
    ahead: list[int] = []

    def look(made: int, _: int) -> None:
        fitted[0] = made
        ahead.append(loaded[0] - made)

    before_fit(monkeypatch, look)
    result = fit(scene, tiny_prior)
    assert max(ahead) >= 2, "the next tile is read while one is fitted"
    stages = result.stages
    assert set(stages) == {"reading", "fitting", "writing", "waiting"}
    assert 0 < stages["fitting"] <= result.seconds


def test_two_runs_do_not_work_on_one_output(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imaging.errors import InputError

    refused: list[str] = []

    def second(made: int, _: int) -> None:
        if made != 2:
            return
        for resume in (False, True):
            with pytest.raises(InputError, match=r"another run is restoring to .*scene_restored\.tif") as caught:
                fit(scene, tiny_prior, resume=resume)
            refused.append(str(caught.value))

    before_fit(monkeypatch, second)
    fit(scene, tiny_prior)
    assert len(refused) == 2
    assert sorted(listing(scene.parent)) == ["scene.tif", "scene_restored.tif", "scene_std.qml", "scene_std.tif"]


def test_a_worker_of_a_run_that_was_begun_anew_keeps_its_tiles_to_itself(scene: Path, tiny_prior: Path) -> None:
    from imaging.errors import ResumeError
    from imaging.raster import TileStore
    from imaging.raster.tiles import Tile
    from imaging.restoration import RestoreOptions, ScenePaths, open_restoration

    job = open_restoration(ScenePaths(input=scene), "pleiades-raw", RestoreOptions(prior=str(tiny_prior)))
    job.scene.source.close()
    tile: Tile = job.plan.tiles()[0]
    old, new = (TileStore(scene.parent / "out.tif", {"seed": k}) for k in (0, 1))
    old.open(resume=False)
    worker = TileStore(scene.parent / "out.tif", {"seed": 0})
    worker.join()
    old.close()
    new.open(resume=False)
    with pytest.raises(ResumeError, match="begun with other settings"):
        worker.put(tile, {"restored": np.zeros((1, 2, 2))})
    assert not new.has(tile)
    new.discard()
    assert list(listing(scene.parent)) == ["scene.tif"]


def test_outputs_may_lie_in_the_folder_of_a_product(tmp_path: Path, tiny_prior: Path) -> None:
    from tests.sensors.products import dimap

    folder = dimap(tmp_path / "IMG", files={"A.TIF": ("P",)})
    result = fit(folder, tiny_prior, sensor=None, output=folder / "r.tif")
    assert Path(result.restored).exists()
