"""Restoring the scenes of an archive one by one, anywhere, and writing down what became of each."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from imaging.archive.executors import shut_down
from imaging.archive.manifest import Entry, check_targets
from imaging.errors import ImagingError, InputError, ResumeError, WorkError, one_line
from imaging.raster import has_own_style, has_tag
from imaging.restoration import RestoreOptions, ScenePaths, SceneResult, Sensor, SuperResolveOptions, restore_scene, super_resolve_scene
from imaging.sensors import find_scene

Record = dict[str, Any]
MakeExecutor = Callable[[], Executor]
Options = RestoreOptions | SuperResolveOptions


@dataclass
class ArchiveReport:
    """What became of the scenes.

    Attributes
    ----------
    records : list of dict
        One for each scene, with ``input``, ``output``, ``status`` (restored, skipped, failed), and the error or the result.
    """

    records: list[Record] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many scenes have a status."""
        return sum(r["status"] == status for r in self.records)

    @property
    def failures(self) -> list[Record]:
        """Records of the scenes that could not be restored."""
        return [r for r in self.records if r["status"] == "failed"]


def restore_one(entry: Entry, sensor: Sensor, options: Options, paths: ScenePaths) -> Record:
    """Restore one scene of an archive and tell what became of it; never raises.

    Finished tiles of an interrupted run are taken over where its settings were the same, otherwise it starts afresh. A scene whose output
    exists is skipped unless ``paths.overwrite`` says otherwise.
    """
    record: Record = {"input": str(entry.input), "output": str(entry.output)}
    folder, new = entry.output.parent, not entry.output.parent.exists()
    own = entry_paths(entry, paths)
    began = time.monotonic()
    try:
        if entry.error is not None:
            raise InputError(entry.error)
        if entry.output.exists() and not paths.overwrite:
            return record | {"status": "skipped", "reason": "the output exists"}
        folder.mkdir(parents=True, exist_ok=True)
        if own.samples is not None:
            own.samples.mkdir(parents=True, exist_ok=True)
        chosen = _sensor(entry, sensor)
        own = _over_own(own, options)
        try:
            result = _one(own, chosen, options)
        except ResumeError:  # what lies beside the tiles of the old run is of that run
            result = _one(replace(own, resume=False, overwrite=True), chosen, options)
        return record | {"status": "restored", "result": asdict(result)}
    except ImagingError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
    if new:
        with suppress(OSError):
            folder.rmdir()
    return record | {"status": "failed", "error": reason, "seconds": round(time.monotonic() - began, 2)}


def _one(paths: ScenePaths, sensor: Sensor, options: Options) -> SceneResult:
    if isinstance(options, SuperResolveOptions):
        return super_resolve_scene(paths, options)
    return restore_scene(paths, sensor, options)


def entry_paths(entry: Entry, paths: ScenePaths) -> ScenePaths:
    """Files of one scene of an archive, samples in folders like those of the outputs; an interrupted run is taken over."""
    samples = None if paths.samples is None else paths.samples / entry.place.parent
    return replace(paths, input=entry.input, output=entry.output, samples=samples, resume=True)


def _over_own(paths: ScenePaths, options: Options) -> ScenePaths:
    """Outputs without the restored scene, which appears last, may be replaced where they were written by a restoration."""
    others = [p for p in paths.outputs(options.samples, estimated=True) if p.exists() and p != paths.restored_path]
    own = (has_own_style(p) if p.suffix == ".qml" else has_tag(p, "IMAGING_VERSION") for p in others)
    return replace(paths, overwrite=True) if others and all(own) else paths


def _sensor(entry: Entry, sensor: Sensor) -> Sensor:
    """A scene's own sensor, that of its product's metadata, or that of the whole archive."""
    if entry.sensor is not None:
        return entry.sensor
    product = find_scene(entry.input)
    return sensor if product is None or product.profile is None else None


def restore_archive(
    entries: Iterable[Entry], sensor: Sensor, options: Options, paths: ScenePaths, *, make_executor: MakeExecutor, ahead: int,
    log: Path | None = None, progress: Callable[[Record], None] | None = None,
) -> ArchiveReport:  # fmt: skip
    """Restore the scenes of an archive; one that fails does not stop the others.

    Parameters
    ----------
    entries : iterable of Entry
        See `find_entries`.
    sensor : str, SensorProfile or None
        Of the scenes that name none of their own; products do in their metadata.
    options : RestoreOptions or SuperResolveOptions
        Of all scenes, which are restored or super-resolved.
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

    Returns
    -------
    ArchiveReport
        Also of the scenes that failed.

    Raises
    ------
    InputError
        When two scenes would write one file; nothing is restored then.
    WorkError
        When the log cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> import imaging
    >>> entries = imaging.find_entries(Path("archive"), Path("restored"))  # doctest: +SKIP
    >>> imaging.restore_archive(  # doctest: +SKIP
    ...     entries, "pleiades", imaging.RestoreOptions(), imaging.ScenePaths(input=Path("archive")),
    ...     make_executor=lambda: imaging.local_executor(2)[0], ahead=4, log=Path("archive.jsonl"),
    ... ).failures
    """
    waiting = [_absolute(e) for e in entries]
    _check_outputs(waiting, paths, options)
    sensor = anywhere(sensor) if isinstance(sensor, str) else sensor
    if paths.samples is not None:
        paths = replace(paths, samples=paths.samples.absolute())
    run = _Run(make_executor, (sensor, options, paths), log, progress)
    suspects: list[Entry] = []
    try:
        while waiting or suspects or run.running:
            # Of scenes that shared a pool whose process died, any may be the cause: each is tried again with nobody beside it.
            if suspects and not run.running:
                run.submit(suspects.pop(0))
            while waiting and not suspects and len(run.running) < ahead:
                run.submit(waiting.pop(0))
            for entry in run.collect():
                if run.losses[entry] > 1:
                    run.fail(entry)
                else:
                    suspects.append(entry)
    finally:
        run.shutdown()
    return run.report


def anywhere(sensor: str) -> str:
    """A sensor's name as it is, or the absolute path of its file, which means the same in any process."""
    return str(Path(sensor).absolute()) if Path(sensor).is_file() else sensor


def _absolute(entry: Entry) -> Entry:
    """Paths that mean the same in any process."""
    sensor = None if entry.sensor is None else anywhere(entry.sensor)
    return replace(entry, input=entry.input.absolute(), output=entry.output.absolute(), sensor=sensor)


def _check_outputs(entries: list[Entry], paths: ScenePaths, options: Options) -> None:
    """Refuse scenes that would write one file, or over an input."""
    check_targets((e, path) for e in entries for path in entry_paths(e, paths).outputs(options.samples, estimated=True))


class _Run:
    """What `restore_archive` keeps while it goes on."""

    def __init__(
        self, make_executor: MakeExecutor, arguments: tuple[Sensor, Options, ScenePaths], log: Path | None,
        progress: Callable[[Record], None] | None,
    ) -> None:  # fmt: skip
        self.make_executor, self.arguments, self.log, self.progress = make_executor, arguments, log, progress
        self.executor, self.report, self.reason = make_executor(), ArchiveReport(), ""
        self.running: dict[Future[Record], Entry] = {}
        self.losses: Counter[Entry] = Counter()
        if log is not None:
            self._note("")

    def _note(self, text: str) -> None:
        if self.log is None:
            return
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise WorkError(f"the log {self.log} cannot be written ({error.strerror})") from error

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
                record = future.result()
            except (Exception, CancelledError) as error:
                died = isinstance(error, BrokenProcessPool)
                broken |= died
                why = "the process that restored it died" if died else f"{type(error).__name__}: {one_line(error)}"
                self.reason = f"its worker was lost twice ({why})"
                lost.append(entry)
            else:
                self.finish(record)
        if broken:
            lost += self.running.values()
            self.running.clear()
            self.shutdown()
            self.executor = self.make_executor()
        self.losses.update(lost)
        return lost

    def fail(self, entry: Entry) -> None:
        """Give up a scene."""
        self.finish({"input": str(entry.input), "output": str(entry.output), "status": "failed", "error": self.reason})

    def finish(self, record: Record) -> None:
        """Write down what became of a scene."""
        self.report.records.append(record)
        self._note(json.dumps(record | {"time": time.strftime("%Y-%m-%dT%H:%M:%S")}) + "\n")
        if self.progress is not None:
            self.progress(record)

    def shutdown(self) -> None:
        """Let go of the workers."""
        shut_down(self.executor, wait=False)
