"""Restoring the scenes of an archive one by one, anywhere, and writing down what became of each."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from imaging.archive.executors import make_executors
from imaging.archive.manifest import Entry, anywhere, check_targets, names_pans, shard
from imaging.archive.request import check_archive, entries_of
from imaging.archive.workers import MakeExecutor, Workers
from imaging.errors import ImagingError, InputError, ResumeError, WorkError, one_line
from imaging.former import formerly
from imaging.raster import has_own_style, has_tag
from imaging.restoration import (
    FuseOptions,
    Options,
    RestoreOptions,
    ScenePaths,
    Sensor,
    SuperResolveOptions,
    as_path,
    run_scene,
)
from imaging.sensors import find_scene, is_product, product_scenes

Record = dict[str, Any]


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
        if own.save_samples is not None:
            own.save_samples.mkdir(parents=True, exist_ok=True)
        chosen = _sensor(entry, sensor)
        own = _over_own(own, options)
        try:
            result = run_scene(own, chosen, options)
        except ResumeError:  # what lies beside the tiles of the old run is of that run
            result = run_scene(replace(own, resume=False, overwrite=True), chosen, options)
        return record | {"status": "restored", "result": asdict(result)}
    except ImagingError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
    if new:
        with suppress(OSError):
            folder.rmdir()
    return record | {"status": "failed", "error": reason, "seconds": round(time.monotonic() - began, 2)}


def entry_paths(entry: Entry, paths: ScenePaths) -> ScenePaths:
    """Files of one scene of an archive, samples in folders like those of the outputs; an interrupted run is taken over."""
    samples = None if paths.save_samples is None else paths.save_samples / entry.place.parent
    return replace(paths, input=entry.input, output=entry.output, save_samples=samples, resume=True, pan=entry.pan)


def _outputs(paths: ScenePaths, options: Options) -> list[Path]:
    """All files that may be written."""
    return paths.outputs(0 if isinstance(options, SuperResolveOptions) else options.samples, estimated=not isinstance(options, FuseOptions))


def _over_own(paths: ScenePaths, options: Options) -> ScenePaths:
    """Outputs without the restored scene, which appears last, may be replaced where they were written by a restoration."""
    others = [p for p in _outputs(paths, options) if p.exists() and p != paths.restored_path]
    own = (has_own_style(p) if p.suffix == ".qml" else has_tag(p, "IMAGING_VERSION") for p in others)
    return replace(paths, overwrite=True) if others and all(own) else paths


def _sensor(entry: Entry, sensor: Sensor) -> Sensor:
    """A scene's own sensor, that of its product's metadata, or that of the whole archive."""
    if entry.sensor is not None:
        return entry.sensor
    if entry.pan is None and is_product(entry.input):
        scenes: list[Any] = list(product_scenes(entry.input))
    else:
        scenes = [find_scene(p) for p in entry.files]
    return sensor if any(s is None or s.profile is None for s in scenes) else None


def _former_call(entries: Any = None, *others: Any, **more: Any) -> dict[str, Any] | None:
    """The keywords of today for a call with `ScenePaths`; None for one of today."""
    given = dict(zip(("sensor", "options", "paths"), others, strict=False)) | more
    if not isinstance(paths := given.pop("paths", None), ScenePaths):
        return None
    kept = {n: getattr(paths, n) for n in ("uncertainty", "save_samples", "overwrite")}
    return {"input": list(entries), "workers": max(1, given.pop("ahead") // 2)} | kept | given


@formerly(_former_call, "restore_archive(input, sensor, output=..., options=..., workers=...)")
def restore_archive(
    input: str | Path | Sequence[Entry], sensor: Sensor = None, *, output: str | Path | None = None, options: Options | None = None,
    uncertainty: bool = True, save_samples: str | Path | None = None, overwrite: bool = False, workers: int | None = None,
    scheduler: str | None = None, part: tuple[int, int] | None = None, log: str | Path | None = None,
    progress: Callable[[Record], None] | None = None, make_executor: MakeExecutor | None = None,
) -> ArchiveReport:  # fmt: skip
    """Restore, or super-resolve, the scenes of an archive; one that fails does not stop the others.

    Scenes whose output exists are skipped, and interrupted ones are resumed.

    Parameters
    ----------
    input : str, Path or sequence of Entry
        A folder, a pattern or a table, see `find_entries`; or what that found.
    sensor : str, SensorProfile or None
        Of the scenes that name none of their own; products do in their metadata.
    output : str or Path, optional
        Folder of the outputs, in which folders and patterns are mirrored; only entries, which have theirs, can do without.
    options : RestoreOptions, SuperResolveOptions or FuseOptions, optional
        Of all scenes, which are restored, super-resolved or fused; the entries of a fusion name a panchromatic scene each or are products
        of both. By default a restoration, or a fusion where entries name panchromatic scenes.
    uncertainty : bool
        Whether standard deviations are written.
    save_samples : str or Path, optional
        Folder for the posterior samples that ``options`` ask for.
    overwrite : bool
        Whether existing outputs are replaced.
    workers : int, optional
        Processes of this machine; by default one for each GPU, otherwise one. With ``make_executor``, how many it has. Processes import
        your program: let it stand under ``if __name__ == "__main__":``.
    scheduler : str, optional
        Address of a Dask cluster whose workers are used instead.
    part : (int, int), optional
        (i, n) for every n-th scene from the i-th on, counted from 1: what one job of an array restores.
    log : str or Path, optional
        Gets one line of JSON for each scene, appended.
    progress : callable, optional
        Called with each scene's record.
    make_executor : callable, optional
        Makes another `concurrent.futures.Executor`; called again when a process of it died, each scene lost then being tried once more.

    Returns
    -------
    ArchiveReport
        Also of the scenes that failed.

    Raises
    ------
    InputError
        When nothing is found, the sensor or the options cannot be used, or two scenes would write one file; nothing is restored then.
    WorkError
        When the log cannot be written.

    Examples
    --------
    >>> import imaging
    >>> if __name__ == "__main__":
    ...     report = imaging.restore_archive("archive/", "pleiades", output="restored/", workers=2)  # doctest: +SKIP
    >>> report.failures  # doctest: +SKIP
    """
    if options is None:
        fused = names_pans(Path(input)) if isinstance(input, (str, Path)) else any(e.pan for e in input)
        options = FuseOptions() if fused else RestoreOptions()
    paths = ScenePaths(input=Path(), uncertainty=uncertainty, save_samples=as_path(save_samples), overwrite=overwrite)
    entries = entries_of(input, as_path(output), options)
    if part is not None:
        entries = shard(entries, part)
    check_archive(entries, sensor, options)
    count = workers or 1
    if make_executor is None:
        make_executor, count = make_executors(workers, scheduler)
    waiting = [_absolute(e) for e in entries]
    check_targets((e, path) for e in waiting for path in _outputs(entry_paths(e, paths), options))
    sensor = anywhere(sensor) if isinstance(sensor, str) else sensor
    if paths.save_samples is not None:
        paths = replace(paths, save_samples=paths.save_samples.absolute())
    if log is not None and output is not None and Path(log).parent == Path(output):
        Path(output).mkdir(parents=True, exist_ok=True)
    return _Run(Workers(make_executor), (sensor, options, paths), as_path(log), progress).restore(waiting, 2 * count)


def _absolute(entry: Entry) -> Entry:
    """Paths that mean the same in any process."""
    sensor = None if entry.sensor is None else anywhere(entry.sensor)
    pan = None if entry.pan is None else entry.pan.absolute()
    return replace(entry, input=entry.input.absolute(), output=entry.output.absolute(), sensor=sensor, pan=pan)


class _Run:
    """What `restore_archive` keeps while it goes on."""

    def __init__(
        self, workers: Workers[Entry], arguments: tuple[Sensor, Options, ScenePaths], log: Path | None,
        progress: Callable[[Record], None] | None,
    ) -> None:  # fmt: skip
        self.workers, self.arguments, self.log, self.progress, self.report = workers, arguments, log, progress, ArchiveReport()
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

    def restore(self, waiting: list[Entry], ahead: int) -> ArchiveReport:
        """Hand out scenes, so many beyond the finished ones, until all are done."""
        workers, suspects = self.workers, list[Entry]()
        losses: Counter[Entry] = Counter()
        try:
            while waiting or suspects or workers.running:
                # Of scenes that shared a pool whose process died, any may be the cause: each is tried again with nobody beside it.
                if suspects and not workers.running:
                    self._submit(suspects.pop(0))
                while waiting and not suspects and len(workers.running) < ahead:
                    self._submit(waiting.pop(0))
                finished, lost = workers.collect()
                for _, record in finished:
                    self._finish(record)
                losses.update(lost)
                for entry in lost:
                    if losses[entry] == 1:
                        suspects.append(entry)
                        continue
                    error = f"its worker was lost twice ({workers.reason})"
                    self._finish({"input": str(entry.input), "output": str(entry.output), "status": "failed", "error": error})
        finally:
            workers.shut_down(wait=False)
        return self.report

    def _submit(self, entry: Entry) -> None:
        self.workers.submit(entry, restore_one, entry, *self.arguments)

    def _finish(self, record: Record) -> None:
        """Write down what became of a scene."""
        self.report.records.append(record)
        self._note(json.dumps(record | {"time": time.strftime("%Y-%m-%dT%H:%M:%S")}) + "\n")
        if self.progress is not None:
            self.progress(record)
