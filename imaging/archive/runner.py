"""Restoring the scenes of an archive one by one, anywhere, and writing down what became of each."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from imaging.archive.manifest import Entry
from imaging.errors import ImagingError, InputError, ResumeError, one_line
from imaging.restoration import RestoreOptions, ScenePaths, Sensor, restore_scene

Record = dict[str, Any]
MakeExecutor = Callable[[], Executor]


@dataclass
class ArchiveReport:
    """What became of the scenes: one record each, with ``input``, ``status`` (restored, skipped, failed), and the error or the result."""

    records: list[Record] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many scenes have a status."""
        return sum(r["status"] == status for r in self.records)

    @property
    def failures(self) -> list[Record]:
        """Records of the scenes that could not be restored."""
        return [r for r in self.records if r["status"] == "failed"]


def restore_one(entry: Entry, sensor: Sensor, options: RestoreOptions, paths: ScenePaths) -> Record:
    """Restore one scene of an archive and tell what became of it; never raises.

    Finished tiles of an interrupted run are taken over where its settings were the same, otherwise it starts afresh. A scene whose output
    exists is skipped unless ``paths.overwrite`` says otherwise.
    """
    record: Record = {"input": str(entry.input), "output": str(entry.output)}
    folder, new = entry.output.parent, not entry.output.parent.exists()
    # The restored scene appears last: whatever lies there without it was left behind by a run that was cut off.
    own = replace(paths, input=entry.input, output=entry.output, resume=True, overwrite=True)
    began = time.monotonic()
    try:
        if entry.output.exists() and not paths.overwrite:
            return record | {"status": "skipped", "reason": "the output exists"}
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = restore_scene(own, entry.sensor or sensor, options)
        except ResumeError:
            result = restore_scene(replace(own, resume=False), entry.sensor or sensor, options)
        return record | {"status": "restored", "result": asdict(result)}
    except ImagingError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
    if new:
        with suppress(OSError):
            folder.rmdir()
    return record | {"status": "failed", "error": reason, "seconds": round(time.monotonic() - began, 2)}


def _initialise(threads: int, devices: Any) -> None:
    """Give a worker process its share of the processors, and a GPU of its own where there are several."""
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(devices.get())
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def gpu_count() -> int:
    """GPUs of this machine."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def local_executor(workers: int | None = None) -> tuple[Executor, int]:
    """Processes on this machine, one for each GPU or, without any, as many as asked for (1 by default); and their number.

    On the CPU they share the processors: two scenes at once on half the processors each take about as long as one after the other, but need
    the memory of two.

    Raises
    ------
    InputError
        For less than one worker.
    """
    if workers is not None and workers < 1:
        raise InputError(f"the number of workers is {workers}; accepted are integers from 1")
    gpus = gpu_count()
    count = workers or max(1, gpus)
    context = multiprocessing.get_context("spawn")
    devices = None
    if gpus:
        devices = context.Queue()
        for k in range(4 * count):  # for replaced workers, too
            devices.put(k % gpus)
    threads = max(1, (os.cpu_count() or 1) // count)
    return ProcessPoolExecutor(count, context, _initialise, (threads, devices)), count


def scheduler_executor(address: str) -> tuple[Executor, int]:
    """The workers of a running Dask cluster, and their number.

    Raises
    ------
    InputError
        When distributed is not installed or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--scheduler needs Dask; install it with: pip install 'imaging-restore[cluster]'") from error
    try:
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address} ({one_line(error)})") from error
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return client.get_executor(pure=False, retries=1), max(1, workers)


def restore_archive(
    entries: Iterable[Entry], sensor: Sensor, options: RestoreOptions, paths: ScenePaths, *, make_executor: MakeExecutor, ahead: int,
    log: Path | None = None, progress: Callable[[Record], None] | None = None,
) -> ArchiveReport:  # fmt: skip
    """Restore the scenes of an archive; one that fails does not stop the others.

    Parameters
    ----------
    entries : iterable of Entry
        See `find_entries`.
    sensor : str, SensorProfile or None
        Of the scenes that name none of their own; products do in their metadata.
    options : RestoreOptions
        Of all scenes.
    paths : ScenePaths
        Its choices of what is written and whether existing outputs are replaced; input and outputs are those of the entries.
    make_executor : callable
        Makes a `concurrent.futures.Executor`; called again when a process of it died, each scene lost then being tried once more.
    ahead : int
        Scenes to hand out beyond the finished ones, at least the number of workers.
    log : Path, optional
        Gets one line of JSON for each scene, appended.
    progress : callable, optional
        Called with each scene's record.
    """
    run = _Run(make_executor, (sensor, options, paths), log, progress)
    try:
        waiting = list(entries)
        while waiting or run.running:
            while waiting and len(run.running) < ahead:
                run.submit(waiting.pop(0))
            # Of scenes that shared a pool whose process died, any may be the cause: each is tried again with nobody beside it.
            for entry in run.collect():
                run.submit(entry)
                for lost in run.collect():
                    run.fail(lost)
    finally:
        run.shutdown()
    return run.report


class _Run:
    """What `restore_archive` keeps while it goes on."""

    def __init__(
        self, make_executor: MakeExecutor, arguments: tuple[Sensor, RestoreOptions, ScenePaths], log: Path | None,
        progress: Callable[[Record], None] | None,
    ) -> None:  # fmt: skip
        self.make_executor, self.arguments, self.log, self.progress = make_executor, arguments, log, progress
        self.executor, self.report, self.reason = make_executor(), ArchiveReport(), ""
        self.running: dict[Future[Record], Entry] = {}

    def submit(self, entry: Entry) -> None:
        """Hand out one scene."""
        try:
            future = self.executor.submit(restore_one, entry, *self.arguments)
        except Exception as error:  # a pool that broke meanwhile, a scheduler that is gone
            future = Future()
            future.set_exception(error)
        self.running[future] = entry

    def collect(self) -> list[Entry]:
        """Wait for a scene to be finished; the scenes that were lost with their workers."""
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        lost, broken = [], False
        for future in done:
            entry = self.running.pop(future)
            try:
                self.finish(future.result())
            except (Exception, CancelledError) as error:
                died = isinstance(error, BrokenProcessPool)
                broken |= died
                why = "the process that restored it died" if died else f"{type(error).__name__}: {one_line(error)}"
                self.reason = f"its worker was lost twice ({why})"
                lost.append(entry)
        if broken:
            lost += self.running.values()
            self.running.clear()
            self.shutdown()
            self.executor = self.make_executor()
        return lost

    def fail(self, entry: Entry) -> None:
        """Give up a scene."""
        self.finish({"input": str(entry.input), "output": str(entry.output), "status": "failed", "error": self.reason})

    def finish(self, record: Record) -> None:
        """Write down what became of a scene."""
        self.report.records.append(record)
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record | {"time": time.strftime("%Y-%m-%dT%H:%M:%S")}) + "\n")
        if self.progress is not None:
            self.progress(record)

    def shutdown(self) -> None:
        """Let go of the workers."""
        with suppress(Exception):
            self.executor.shutdown(wait=False, cancel_futures=True)
