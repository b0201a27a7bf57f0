"""Archives go on whatever happens to single scenes or to the processes that restore them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging.archive import Entry, find_entries, local_executor, restore_archive, scheduler_executor
from imaging.errors import InputError, WorkError
from imaging.restoration import RestoreOptions, ScenePaths
from tests.cli.commands import invoke, sentence
from tests.scenes import listing, smooth, write_scene
from tests.sensors.products import dimap, landsat

WRITTEN = ("restored.tif", "std.qml", "std.tif")


def options(prior: Path, **changes: Any) -> RestoreOptions:
    return RestoreOptions(**{"prior": str(prior), "iterations": 2, "tile": 64, "halo": 16} | changes)


def archive(folder: Path, count: int = 4, side: int = 64) -> Path:
    scenes = folder / "scenes"
    scenes.mkdir()
    for k in range(count):
        write_scene(scenes / f"{k}.tif", smooth(1, side, side, k).astype(np.uint16))
    return scenes


def outcome(report: Any) -> dict[str, str]:
    return {Path(r["input"]).stem: r["status"] for r in report.records}


def threads() -> Executor:
    return ThreadPoolExecutor(1)


def run(scenes: Path, out: Path, prior: Path, *, make: Any = threads, **more: Any) -> Any:
    chosen = options(prior, **{k: more.pop(k) for k in ("seed", "iterations") if k in more})
    return restore_archive(scenes, "pleiades-raw", output=out, options=chosen, make_executor=make, **more)


def test_broken_scenes_are_reported_and_the_rest_is_restored(tmp_path: Path, tiny_prior: Path) -> None:
    scenes, out = archive(tmp_path), tmp_path / "out"
    (scenes / "1.tif").write_bytes((scenes / "1.tif").read_bytes()[:300])
    (scenes / "far").mkdir()
    (scenes / "far" / "x.tif").write_text("no raster")
    log = tmp_path / "log.jsonl"
    report = run(scenes, out, tiny_prior, log=log)
    assert outcome(report) == {"0": "restored", "1": "failed", "2": "restored", "3": "restored", "x": "failed"}
    assert sorted(listing(out)) == [f"{k}_{what}" for k in (0, 2, 3) for what in WRITTEN]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [Path(r["input"]).stem for r in lines] == ["0", "1", "2", "3", "x"]
    assert "is not a raster" in lines[4]["error"]
    assert lines[0]["result"]["width"] == 64


def test_the_same_command_again_restores_only_what_is_missing(tmp_path: Path, tiny_prior: Path) -> None:
    scenes, out = archive(tmp_path), tmp_path / "out"
    run(scenes, out, tiny_prior)
    before = listing(out)
    (out / "2_restored.tif").unlink()
    (out / "0_restored.tif").write_text("the user's own")
    assert outcome(run(scenes, out, tiny_prior)) == {"0": "skipped", "1": "skipped", "2": "restored", "3": "skipped"}
    assert listing(out) == before | {"0_restored.tif": b"the user's own"}
    again = run(scenes, out, tiny_prior, overwrite=True)
    assert again.count("restored") == 4
    assert listing(out) == before


def test_interrupted_scenes_go_on_from_their_tiles_and_start_afresh_with_other_settings(tmp_path: Path, tiny_prior: Path) -> None:
    scenes, out = archive(tmp_path, 1, side=200), tmp_path / "out"
    run(scenes, out, tiny_prior)
    whole = listing(out)
    for changed in (False, True):
        entry = find_entries(scenes, out)[0]
        entry.output.unlink()
        _interrupt(entry, options(tiny_prior, seed=int(changed)))
        assert any(".partial" in name for name in listing(out))
        assert run(scenes, out, tiny_prior).count("restored") == 1
        assert listing(out) == whole


def _interrupt(entry: Entry, settings: RestoreOptions) -> None:
    """A run that is cut off after its first tile."""
    from imaging.restoration import open_restoration
    from imaging.restoration.pipeline import Run, store_of

    paths = ScenePaths(input=entry.input, output=entry.output, overwrite=True)
    job = open_restoration(paths, "pleiades-raw", settings)
    with job.scene:
        store = store_of(job)
        store.open(resume=False)
        Run(job, store).finish(job.plan.tiles()[:1])
        store.close()


def test_processes_give_the_same_bytes_and_one_that_is_killed_loses_nothing(tmp_path: Path, tiny_prior: Path) -> None:
    scenes = archive(tmp_path, 6, side=150)
    alone = run(scenes, tmp_path / "alone", tiny_prior, make=lambda: local_executor(2)[0])
    assert alone.count("restored") == 6
    made: list[Any] = []

    def make() -> Executor:
        made.append(local_executor(2)[0])
        return made[-1]

    def kill(record: dict[str, Any]) -> None:
        if len(made) == 1 and not killed:
            killed.append(next(iter(made[0]._processes)))
            os.kill(killed[0], signal.SIGKILL)

    killed: list[int] = []
    report = run(scenes, tmp_path / "out", tiny_prior, make=make, workers=2, progress=kill)
    assert len(made) >= 2
    assert report.count("restored") + report.count("skipped") == 6
    assert listing(tmp_path / "out") == listing(tmp_path / "alone")


class Deadly(Executor):
    """Loses its workers whenever it is given one scene."""

    def __init__(self, name: str) -> None:
        self.name, self.inner = name, ThreadPoolExecutor(2)

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Any:
        """Run, or break a moment later."""
        from concurrent.futures import Future
        from concurrent.futures.process import BrokenProcessPool

        if arguments[0].input.stem != self.name:
            return self.inner.submit(function, *arguments)
        future: Future[Any] = Future()
        threading.Timer(0.2, future.set_exception, (BrokenProcessPool("a process died"),)).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait: the processes of a broken pool are gone, too."""
        self.inner.shutdown(True, cancel_futures=cancel_futures)


def test_a_scene_that_kills_its_process_is_given_up_and_no_other(tmp_path: Path, tiny_prior: Path) -> None:
    scenes = archive(tmp_path, 5)
    report = run(scenes, tmp_path / "out", tiny_prior, make=lambda: Deadly("2"), workers=2)
    found = outcome(report)
    assert found.pop("2") == "failed"
    assert set(found.values()) <= {"restored", "skipped"}
    assert set(found) == {"0", "1", "3", "4"}
    assert "lost twice (the process that restored it died)" in report.failures[0]["error"]
    assert sorted(listing(tmp_path / "out")) == [f"{k}_{what}" for k in (0, 1, 3, 4) for what in WRITTEN]


def test_a_dask_cluster_restores_what_processes_do(tmp_path: Path, tiny_prior: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    scenes = archive(tmp_path, 12)
    (scenes / "7.tif").write_bytes(b"II*\0 cut short")
    alone = run(scenes, tmp_path / "alone", tiny_prior, make=lambda: local_executor(1)[0])
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**settings) as cluster:
        pids = [w.pid for w in cluster.workers.values()]
        killed: list[int] = []

        def kill(record: dict[str, Any]) -> None:
            if record["status"] == "restored" and not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        address = cluster.scheduler_address
        report = run(scenes, tmp_path / "out", tiny_prior, make=lambda: scheduler_executor(address)[0], workers=2, progress=kill)
    assert killed
    assert outcome(report)["7"] == "failed"
    assert len(report.failures) == 1
    assert len(report.records) == 12
    assert listing(tmp_path / "out") == listing(tmp_path / "alone")
    assert outcome(alone)["7"] == "failed"


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    began = time.monotonic()
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        scheduler_executor("tcp://127.0.0.1:9")
    assert time.monotonic() - began < 60


def test_the_command_ends_with_3_when_some_scenes_failed(tmp_path: Path, tiny_prior: Path) -> None:
    scenes, out = archive(tmp_path, 2), tmp_path / "out"
    few = ("--sensor", "pleiades-raw", "--prior", tiny_prior, "--iterations", 2, "--tile", 64, "--halo", 16)
    result = invoke("--input", scenes, "--output", out, *few, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"restored": 2, "skipped": 0, "failed": 0, "log": str(out / "archive.jsonl"), "failures": []}
    assert "[2/2] restored" in result.stderr
    (scenes / "2.tif").write_text("no raster")
    result = invoke("--input", scenes / "*.tif", "--output", out, *few, "--shard", "1/2")
    assert result.exit_code == 3
    assert "0 restored, 1 skipped, 1 failed" in result.stdout
    assert len((out / "archive-1-of-2.jsonl").read_text().splitlines()) == 2


def test_a_dry_run_names_scenes_and_writes_nothing(tmp_path: Path) -> None:
    scenes = archive(tmp_path, 2)
    before = listing(tmp_path)
    result = invoke("--input", scenes, "--output", tmp_path / "out", "--sensor", "pleiades-raw", "--dry-run", "--json")
    assert [json.loads(line)["input"] for line in result.stdout.splitlines()] == [str(scenes / "0.tif"), str(scenes / "1.tif")]
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give the folder of their restored scenes with --output"),
        (("--output", "{scenes}/0.tif"), "is a file; for several scenes give a folder"),
        (("--output", "out", "--std", "x.tif"), "--std is for one scene"),
        (("--output", "out", "--reference", "x.tif"), "--reference is for one scene"),
        (("--output", "out", "--shard", "2"), "accepted are i/n such as 2/10"),
        (("--output", "out", "--shard", "3/2"), "the shard is 3/2"),
        (("--output", "out", "--workers", "0"), "the number of workers is 0"),
        (("--output", "out", "--sensor", "plejades"), "did you mean pleiades?"),
        (("--output", "out", "--scale", "5"), "the scale is 5"),
    ],
)
def test_archives_that_cannot_be_begun(tmp_path: Path, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = archive(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    given = [a.format(scenes=scenes) for a in arguments]
    sensor = () if "--sensor" in given else ("--sensor", "pleiades-raw")
    assert words in sentence(invoke("--input", scenes, *sensor, *given))
    assert listing(tmp_path) == before


def test_options_for_several_scenes_are_refused_for_one(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).astype(np.uint16))
    assert "--shard is for several scenes" in sentence(invoke("--input", scene, "--sensor", "pleiades-raw", "--shard", "1/2"))


def test_a_sensor_is_needed_for_each_scene(tmp_path: Path) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text("input,sensor\na.tif,spot6\nb.tif,\n")
    assert "a sensor is needed" in sentence(invoke("--input", table, "--output", tmp_path / "out"))


def test_what_is_not_of_a_restoration_is_not_replaced(tmp_path: Path, tiny_prior: Path) -> None:
    scenes = archive(tmp_path, 2)
    write_scene(scenes / "0_std.tif", smooth(1, 8, 8).astype(np.uint16))
    before = (scenes / "0_std.tif").read_bytes()
    report = run(scenes, scenes, tiny_prior)
    assert outcome(report) == {"0": "failed", "1": "restored"}
    assert "0_std.tif exists; add --overwrite" in report.failures[0]["error"]
    assert (scenes / "0_std.tif").read_bytes() == before


def test_samples_lie_in_folders_like_those_of_the_outputs(tmp_path: Path, tiny_prior: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        write_scene(tmp_path / "scenes" / name / "pan.tif", smooth(1, 64, 64).astype(np.uint16))
    chosen = options(tiny_prior, samples=1)
    entries = find_entries(tmp_path / "scenes", tmp_path / "out")
    report = restore_archive(entries, "pleiades-raw", options=chosen, save_samples=tmp_path / "drawn", make_executor=threads)
    assert report.count("restored") == 2, report.failures
    assert sorted(k for k, v in listing(tmp_path / "drawn").items() if v) == ["a/pan_sample_000.tif", "b/pan_sample_000.tif"]


def test_scenes_that_would_write_one_file_are_refused_before_the_first(tmp_path: Path, tiny_prior: Path) -> None:
    scenes = archive(tmp_path, 2)
    table = tmp_path / "t.csv"
    table.write_text("input,output\nscenes/0.tif,a.tif\nscenes/1.tif,a_restored.tif\n")
    with pytest.raises(InputError, match=r"0\.tif and .*1\.tif would both write .*a_std\.tif"):
        run(table, tmp_path / "out", tiny_prior)
    assert not (tmp_path / "out").exists()
    assert len(list(scenes.iterdir())) == 2


def test_products_keep_their_sensor_beside_rasters(tmp_path: Path, tiny_prior: Path) -> None:
    scenes = archive(tmp_path, 1)
    dimap(scenes / "IMG", mission="SPOT", index="6", files={"A.TIF": ("P",)})
    dimap(scenes / "DOVE", mission="DOVE", files={"A.TIF": ("P",)})
    landsat(scenes / "old", spacecraft="LANDSAT_7", bands=(3,))
    report = run(scenes, tmp_path / "out", tiny_prior)
    sensors = {Path(r["output"]).stem: r["result"]["sensor"] for r in report.records if r["status"] == "restored"}
    assert sensors == {"0_restored": "pleiades-raw", "IMG_PAN_restored": "spot6", "DOVE_PAN_restored": "pleiades-raw"}
    (failure,) = report.failures
    assert "is of LANDSAT_7" in failure["error"]


def test_a_log_that_cannot_be_written_ends_the_run_before_the_first_scene(tmp_path: Path, tiny_prior: Path) -> None:
    with pytest.raises(WorkError, match=r"the log .* cannot be written \(No such file or directory\)"):
        run(archive(tmp_path, 2), tmp_path / "out", tiny_prior, log=tmp_path / "no" / "log")
    assert not (tmp_path / "out").exists()


class Forgetful(Executor):
    """Loses each scene once, without a pool that breaks, as a cluster does."""

    def __init__(self) -> None:
        self.inner, self.seen, self.together = ThreadPoolExecutor(2), set[Path](), [0]

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Any:
        """Run at the second time."""
        from concurrent.futures import Future

        if arguments[0].input in self.seen:
            return self.inner.submit(function, *arguments)
        self.seen.add(arguments[0].input)
        future: Future[Any] = Future()
        threading.Timer(0.05 * len(self.seen), future.set_exception, (ConnectionError("a worker left"),)).start()
        return future

    def shutdown(self, wait: bool = True) -> None:  # type: ignore[override]
        """As Dask's, without cancel_futures."""
        self.inner.shutdown(wait)


def test_each_scene_may_be_lost_once(tmp_path: Path, tiny_prior: Path) -> None:
    report = run(archive(tmp_path, 3), tmp_path / "out", tiny_prior, make=Forgetful, workers=2)
    assert outcome(report) == dict.fromkeys("012", "restored")


def test_relative_paths_mean_the_same_in_any_process(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, 1)
    monkeypatch.chdir(tmp_path)

    class Elsewhere(ThreadPoolExecutor):
        def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Any:
            def moved() -> Any:
                (tmp_path / "home").mkdir(exist_ok=True)
                os.chdir(tmp_path / "home")
                try:
                    return function(*arguments)
                finally:
                    os.chdir(tmp_path)

            return super().submit(moved)

    report = run(Path("scenes"), Path("out"), tiny_prior, make=lambda: Elsewhere(1))
    assert report.count("restored") == 1, report.failures
    assert (tmp_path / "out" / "0_restored.tif").exists()
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "count", "names"), [(None, 2, ["0", "1"]), ("3", 1, ["3"]), ("2, GPU-ab", 2, ["2", "GPU-ab"]), ("", 1, ["0"])]
)
def test_gpus_that_a_scheduler_chose_are_kept(monkeypatch: pytest.MonkeyPatch, given: str | None, count: int, names: list[str]) -> None:
    from imaging.archive.executors import _gpu_names

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert _gpu_names(count) == names
