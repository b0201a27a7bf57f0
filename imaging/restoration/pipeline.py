"""One scene from its open file to published outputs, whatever an engine does with its windows.

Tiles are read ahead, worked on, and written behind, side by side; finished ones are kept until all outputs can be put into their places.
"""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch

from imaging.errors import InputError, WorkError
from imaging.raster import Tile, TileStore, publish, write_output
from imaging.restoration.engine import Arrays, Batch, Engine
from imaging.version import __version__

Progress = Callable[[int, int], None]

_AHEAD = 2
"""Batches that wait to be fitted, and to be written, at most: more would need memory and save no time."""


@dataclass
class Seconds:
    """Where the time of a run goes: of the fit, and of the threads that read and write beside it; ``waiting`` is the fit's for them."""

    reading: float = 0.0
    fitting: float = 0.0
    writing: float = 0.0
    waiting: float = 0.0

    def rounded(self) -> dict[str, float]:
        """By name, to the hundredth."""
        return {k: round(v, 2) for k, v in asdict(self).items()}


Read = TypeVar("Read")
Known = TypeVar("Known")
Done = TypeVar("Done")


def side_by_side(
    todo: Iterator[Read], read: Callable[[Read], Known], fit: Callable[[Known], Iterable[Done]], write: Callable[[Done], None],
    seconds: Seconds,
) -> None:  # fmt: skip
    """Read, fit and write one after the other what is to be done, each beside the others of its neighbours.

    ``todo`` is taken when there is room. Reading and writing have a thread each, which end what they have begun also when the fit is
    interrupted: finished tiles are kept. ``seconds`` gets the time that the fit waits for the others.
    """

    def waited(future: Future[Any]) -> Any:
        began = time.monotonic()
        found = future.result()
        seconds.waiting += time.monotonic() - began
        return found

    with ThreadPoolExecutor(1, "reading") as reader, ThreadPoolExecutor(1, "writing") as writer:
        ahead = deque(reader.submit(read, t) for _, t in zip(range(_AHEAD), todo, strict=False))
        behind: deque[Future[None]] = deque()
        try:
            while ahead:
                known = waited(ahead.popleft())
                ahead.extend(reader.submit(read, t) for _, t in zip(range(1), todo, strict=False))
                for done in fit(known):
                    while len(behind) >= _AHEAD:
                        waited(behind.popleft())
                    behind.append(writer.submit(write, done))
            while behind:
                waited(behind.popleft())
        finally:
            for future in ahead:
                future.cancel()


def batches(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    """Runs of consecutive tiles with windows of one shape, at most ``size`` each."""
    run: list[Tile] = []
    for tile in tiles:
        same = bool(run) and (run[0].window.height, run[0].window.width) == (tile.window.height, tile.window.width)
        if run and (not same or len(run) == size):
            yield run
            run = []
        run.append(tile)
    if run:
        yield run


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine itself, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass
class Run:
    """Working on the tiles of a scene that are not finished yet, one thread at a time reading.

    Progress is called with (finished, total) steps.
    """

    engine: Engine
    store: TileStore
    progress: Progress | None = None
    seconds: Seconds = field(default_factory=Seconds)

    def finish(self, tiles: list[Tile]) -> None:
        """Work on what is not finished of some tiles; `WorkError` when the memory does not suffice for one tile."""
        self._size = self.engine.batch
        waiting = [t for t in tiles if not self.store.has(t)]
        self._total = len(tiles) * self.engine.passes
        self._done = self._total - len(waiting) * self.engine.passes
        side_by_side(batches(waiting, self._size), self._read, self._work, self._write, self.seconds)
        if self.progress is not None:
            self.progress(self._total, self._total)

    def _read(self, tiles: list[Tile]) -> Batch:
        began = time.monotonic()
        found = self.engine.read(tiles)
        self.seconds.reading += time.monotonic() - began
        return found

    def _work(self, batch: Batch) -> Iterator[tuple[Batch, list[Arrays]]]:
        """The batch in parts that the device's memory holds; what it does not hold once is not tried again."""
        first = 0
        while first < len(batch.tiles):
            part = batch.part(slice(first, first + self._size))
            count, began = len(part.tiles), time.monotonic()
            try:
                done = self.engine.work(part, self._steps(count))
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                if count == 1:
                    window = part.tiles[0].window
                    raise WorkError(
                        f"the memory does not suffice for one window of {window.height} x {window.width} pixels; choose a smaller --tile"
                    ) from error
                self._size = count // 2
            else:
                self.seconds.fitting += time.monotonic() - began
                self._done += count * self.engine.passes
                first += count
                yield part, done
                continue
            torch.cuda.empty_cache()  # outside the handler, whose traceback keeps the tensors alive

    def _steps(self, count: int) -> Callable[[int], None]:
        """Progress within a batch; each of a tile's fits counts its own steps."""
        ticks = 0

        def step(_: int) -> None:
            nonlocal ticks
            ticks += 1
            if self.progress is not None:
                self.progress(self._done + ticks * count, self._total)

        return step

    def _write(self, done: tuple[Batch, list[Arrays]]) -> None:
        began = time.monotonic()
        batch, results = done
        for tile, core, shown, arrays in zip(batch.tiles, batch.cores, batch.shown, results, strict=True):
            self.store.put(tile, self.engine.stored(core, shown, arrays))
        self.seconds.writing += time.monotonic() - began


def store_of(engine: Engine) -> TileStore:
    """Where the finished tiles of an engine are kept."""
    return TileStore(engine.paths.restored_path, engine.fingerprint(), engine.outputs)


def check_disk(engine: Engine) -> None:
    """Refuse to begin what the disks of the outputs surely cannot hold; `InputError` with the megabytes that are free and needed."""
    need = engine.disk_need
    for folder in {p.parent for p in engine.outputs}:
        usage = shutil.disk_usage(folder)
        if usage.total and usage.free < need / 3:
            raise InputError(f"the disk of {folder} is full: {usage.free / 1e6:.1f} MB are free, about {need / 1e6:.1f} MB are needed")


def run(engine: Engine, progress: Progress | None = None, elsewhere: Callable[[int], list[str]] | None = None) -> Seconds:
    """Work on all tiles of an open scene and publish its outputs; its paths say whether an interrupted run is taken over.

    ``elsewhere`` is called with the number of tiles before the first; the tiles that it has other processes finish are taken over, and it
    returns what the user should know. `InputError` when the outputs' disk is full, `WorkError` when the input changed meanwhile, or the
    memory does not suffice; nothing is written then.
    """
    check_disk(engine)
    seconds, store = Seconds(), store_of(engine)
    with store.running(resume=engine.paths.resume):
        if elsewhere is not None:
            engine.notes.extend(elsewhere(len(engine.tiles)))
        Run(engine, store, progress, seconds).finish(engine.tiles)
        rasters = [(write_output(engine.grid, p, engine.tiles, store), p.path) for p in engine.rasters()]
        beside = engine.sidecars(store.folder, [written for written, _ in rasters])
        if engine.fingerprint() != store.fingerprint:
            raise WorkError(f"{engine.paths.input} changed while it was {engine.verb}; nothing is written")
        publish([*rasters[:-1], *beside, rasters[-1]])
    return seconds


@dataclass(frozen=True)
class SceneResult:
    """What was done; the fields of the command's JSON object.

    Attributes
    ----------
    input, restored : str
        Paths of the scene and of the restored scene.
    std : str or None
        Path of the standard deviations; None where the method has none or they were not wanted.
    sensor, prior, method : str
        Names of what the restoration rests on.
    sensor_file : str or None
        Path of the profile that was estimated from the scene.
    scale, iterations, seed : int
        As in `RestoreOptions`.
    width, height : int
        Of the outputs, pixels.
    bands : list of int
        Those that were restored, numbered from 1.
    seconds : float
        Of the whole.
    stages : dict
        Seconds of each stage: reading, fitting, writing and waiting.
    megapixels : float
        Of the outputs.
    peak_memory_mb : float
        Most memory that the process has had, MB.
    version : str
        Of this package.
    notes : list of str
        What the user should know.
    reference : dict or None
        PSNR in dB before and after and, with standard deviations, the part of the pixels that the intervals cover; None without a truth.
    """

    input: str
    restored: str
    std: str | None
    sensor: str
    sensor_file: str | None
    prior: str
    method: str
    scale: int
    width: int
    height: int
    bands: list[int]
    iterations: int
    seconds: float
    stages: dict[str, float]
    megapixels: float
    peak_memory_mb: float
    seed: int
    version: str
    notes: list[str]
    reference: dict[str, float] | None = None


def peak_memory_mb() -> float:
    """Most memory that this process has had, MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3), 1)


def result_of(engine: Engine, seconds: float, stages: Seconds, figures: dict[str, float] | None) -> SceneResult:
    """The result of an engine that is done, after so many seconds; figures are those against a truth."""
    paths, grid = engine.paths, engine.grid
    found: SceneResult = (engine.result_type or SceneResult)(
        input=str(paths.input), restored=str(paths.restored_path), std=None if paths.std_path is None else str(paths.std_path),
        scale=engine.scale, width=grid.width, height=grid.height, bands=list(engine.scene.bands), seconds=round(seconds, 2),
        stages=stages.rounded(), megapixels=grid.width * grid.height / 1e6, peak_memory_mb=peak_memory_mb(), version=__version__,
        notes=engine.notes, reference=figures, **engine.summary(),
    )  # fmt: skip
    return found
