"""One scene shared among processes."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rasterio.transform import Affine

from imaging.archive import local_executor, restore_spread, scheduler_executor
from imaging.archive.spread import blocks_of
from imaging.errors import InputError, ResumeError
from imaging.restoration import FuseOptions, RestoreOptions, ScenePaths, SceneResult, run_scene, run_tiles
from imaging.restoration.fusion_opening import open_fusion
from tests.bundles import write_bundle
from tests.cli.commands import invoke
from tests.scenes import fit, listing, read, smooth, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Four by four tiles."""
    return write_scene(tmp_path / "scene.tif", smooth(1, 256, 256).astype(np.uint16))


def spread(scene: Path, prior: Path, name: str, make: Any, **changes: Any) -> SceneResult:
    settings = RestoreOptions(prior=str(prior), iterations=2, tile=64, halo=16)
    paths = ScenePaths(input=scene, output=scene.parent / name / "scene_restored.tif")
    paths.restored_path.parent.mkdir()
    return restore_spread(paths, "pleiades-raw", settings, make_executor=make, workers=2, **changes)


def outputs(scene: Path, name: str) -> dict[str, bytes | None]:
    return listing(scene.parent / name)


@pytest.fixture
def whole(scene: Path, tiny_prior: Path) -> dict[str, bytes | None]:
    """What one process makes of it."""
    (scene.parent / "alone").mkdir()
    fit(scene, tiny_prior, output=scene.parent / "alone" / "scene_restored.tif")
    return outputs(scene, "alone")


def test_blocks_partition_the_tiles() -> None:
    for count in (1, 2, 7, 100, 5000):
        for workers in (1, 3, 16):
            found = blocks_of(count, workers)
            assert [k for a, b in found for k in range(a, b)] == list(range(count))
            assert all(0 < b - a <= 32 for a, b in found)
            assert len(found) >= min(count, 4 * workers)


def test_two_processes_one_of_which_dies_give_the_bytes_of_one(scene: Path, tiny_prior: Path, whole: dict[str, bytes | None]) -> None:
    made: list[Any] = []

    def make() -> Executor:
        made.append(local_executor(2)[0])
        return made[-1]

    def kill(done: int, total: int) -> None:
        assert 0 < done <= total == 16
        if len(made) == 1 and done < 8:
            os.kill(next(iter(made[0]._processes)), signal.SIGKILL)

    result = spread(scene, tiny_prior, "out", make, progress=kill)
    assert len(made) == 2
    assert any("workers were lost" in n for n in result.notes)
    assert outputs(scene, "out") == whole


class Gone(Executor):
    """A scheduler that takes some blocks and is gone then."""

    def __init__(self) -> None:
        self.inner, self.taken = ThreadPoolExecutor(1), 0

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        """Run, or say that nobody is there."""
        self.taken += 1
        if self.taken > 3:
            raise OSError("the connection is closed")
        return self.inner.submit(function, *arguments)


def test_what_a_lost_scheduler_leaves_is_fitted_here(scene: Path, tiny_prior: Path, whole: dict[str, bytes | None]) -> None:
    result = spread(scene, tiny_prior, "out", Gone)
    assert any("the connection is closed" in n for n in result.notes)
    assert outputs(scene, "out") == whole


class Elsewhere(Executor):
    """Changes the input before the workers see it."""

    def __init__(self, scene: Path) -> None:
        self.scene = scene

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        """Run at once."""
        os.utime(self.scene)
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def test_workers_that_see_another_input_end_the_run_and_leave_nothing(scene: Path, tiny_prior: Path) -> None:
    with pytest.raises(ResumeError, match="another input"):
        spread(scene, tiny_prior, "out", lambda: Elsewhere(scene))
    assert outputs(scene, "out") == {}


def test_tiles_of_no_run_are_refused(scene: Path, tiny_prior: Path) -> None:
    settings = RestoreOptions(prior=str(tiny_prior), iterations=2, tile=64, halo=16)
    with pytest.raises(InputError, match=r"no run of .* is under way"):
        run_tiles(ScenePaths(input=scene), "pleiades-raw", settings, 0, 4)
    assert list(listing(scene.parent)) == ["scene.tif"]


def test_the_command_shares_one_scene(scene: Path, tiny_prior: Path, whole: dict[str, bytes | None]) -> None:
    few = ("--sensor", "pleiades-raw", "--prior", tiny_prior, "--iterations", 2, "--tile", 64, "--halo", 16)
    result = invoke("--input", scene, *few, "--workers", 2, "--json")
    assert result.exit_code == 0, result.output
    assert Path(json.loads(result.stdout)["restored"]).read_bytes() == whole["scene_restored.tif"]


def test_a_dask_cluster_shares_one_scene(scene: Path, tiny_prior: Path, whole: dict[str, bytes | None]) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**settings) as cluster:
        address = cluster.scheduler_address
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if not killed and done < total / 2:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        result = spread(scene, tiny_prior, "out", lambda: scheduler_executor(address)[0], progress=kill)
    assert killed
    assert result.restored == str(scene.parent / "out" / "scene_restored.tif")
    assert outputs(scene, "out") == whole


def test_two_processes_fuse_a_bundle_to_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of both scenes, the decision and the fused tiles are the same in any process."""
    bundle = write_bundle(tmp_path / "bundle")
    monkeypatch.chdir(bundle.folder)
    options = FuseOptions(method="gaussian", tile=64, halo=32, samples=1)
    made: list[dict[str, bytes | None]] = []
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
        paths = ScenePaths(input=Path("ms.tif"), pan=Path("pan.tif"), output=tmp_path / name / "out.tif", save_samples=tmp_path / name)
        if name == "alone":
            run_scene(paths, "sensor.toml", options)
        else:
            result = restore_spread(paths, "sensor.toml", options, make_executor=lambda: local_executor(2)[0], workers=2)
            assert not any("lost" in n for n in result.notes)
        made.append(listing(tmp_path / name))
    assert sorted(made[0]) == ["out.tif", "out_sample_000.tif", "out_std.qml", "out_std.tif"]
    assert made[0] == made[1]


def test_what_is_decided_about_a_bundle_does_not_depend_on_threads(tmp_path: Path) -> None:
    """Processes that share a scene have other numbers of threads; sums of float32 in another order would be another run's."""
    bundle, rng = write_bundle(tmp_path), np.random.default_rng(0)
    for path, gsd in ((bundle.pan, 0.5), (bundle.ms, 2.0)):
        values = np.tile(read(path), (1, 4, 4))
        values += rng.integers(0, 9, values.shape).astype(values.dtype)
        write_scene(path, values, transform=Affine(gsd, 0, 371_000, 0, -gsd, 4_826_000), photometric="MINISBLACK")
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with open_fusion(ScenePaths(input=bundle.ms, pan=bundle.pan), str(bundle.sensor), FuseOptions(method="gaussian")) as engine:
                (stack,) = engine.stacks
                found.append((engine.settings(), stack.statistics.covariance.tolist(), stack.drift, stack.position, stack.brightest))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
