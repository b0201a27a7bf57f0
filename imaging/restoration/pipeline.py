"""Reading, fitting and writing of tiles side by side: what comes next is read ahead, what is fitted is written behind."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import WorkError
from imaging.raster import Tile, TileStore
from imaging.restoration.planning import Job
from imaging.restoration.products import to_stored

Progress = Callable[[int, int], None]
Arrays = dict[str, NDArray[Any]]

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

    Parameters
    ----------
    todo : iterator
        What to read; taken when there is room.
    read, fit, write : callable
        From one of them to what is known of it, to its results one by one, and away with a result. Reading and writing have a thread each,
        which end what they have begun also when the fit is interrupted: finished tiles are kept.
    seconds : Seconds
        Gets the time that the fit waits for the others.
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


@dataclass(frozen=True)
class Loaded:
    """A batch of tiles with what is stored of them.

    Attributes
    ----------
    tiles : list of Tile
        With windows of one shape.
    values, valid : ndarray
        ``(B, C, h, w)`` measured values of the windows, and their validity.
    cores, shown : list of ndarray
        ``(C, H, W)`` stored values of each core, in their own type, and their validity.
    """

    tiles: list[Tile]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    cores: list[NDArray[Any]]
    shown: list[NDArray[np.bool_]]

    def part(self, where: slice) -> Loaded:
        """Some of the batch."""
        return Loaded(self.tiles[where], self.values[where], self.valid[where], self.cores[where], self.shown[where])


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


def load(job: Job, tiles: list[Tile]) -> Loaded:
    """Read a batch."""
    windows = [job.scene.read(job.measured(t)) for t in tiles]
    cores = [job.grid.read_raw(t.core, job.scene.bands) for t in tiles]
    shown = [_shown(job, t, valid) for t, (_, valid) in zip(tiles, windows, strict=True)]
    return Loaded(tiles, np.stack([v for v, _ in windows]), np.stack([m for _, m in windows]), cores, shown)


def _shown(job: Job, tile: Tile, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Validity of a tile's core on the grid of the outputs, from that of its measured pixels."""
    core, measured, s = tile.core, job.measured(tile), job.options.scale
    row, column = core.row - s * measured.row, core.column - s * measured.column
    return valid.repeat(s, 1).repeat(s, 2)[:, row : row + core.height, column : column + core.width]


def fit(job: Job, batch: Loaded, step: Callable[[int], None]) -> list[Arrays]:
    """Fitted arrays ``(C, H, W)`` of each tile's core, in stored units, not rounded."""
    origins = [job.plan.origin(t, job.method.stride) for t in batch.tiles]
    areas = [job.measured(t) for t in batch.tiles]
    extents = [(min(a.height, job.scene.height - a.row), min(a.width, job.scene.width - a.column)) for a in areas]
    parts: list[list[Arrays]] = [[] for _ in batch.tiles]
    for fitter in job.fitters:
        indices = fitter.indices
        arrays = fitter(batch.values[:, indices], batch.valid[:, indices], origins, job.options.samples, step, extents)
        for k, tile in enumerate(batch.tiles):
            core, window = tile.core, tile.window
            cut = (slice(core.row - window.row, core.row - window.row + core.height),
                   slice(core.column - window.column, core.column - window.column + core.width))  # fmt: skip
            parts[k].append({name: array[k][(slice(None), *cut)] for name, array in arrays.items()})
    return [{name: np.concatenate([p[name] for p in ps]) for name in ps[0]} for ps in parts]


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine itself, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass
class Run:
    """Fitting the tiles of a scene that are not finished yet.

    Parameters
    ----------
    job : Job
        Its scene is read by one thread at a time.
    store : TileStore
        Open; finished tiles go there.
    progress : callable, optional
        Called with (finished, total) iterations.
    """

    job: Job
    store: TileStore
    progress: Progress | None = None
    seconds: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        self._size = self.job.batch
        self._per_tile = self.job.method.passes * len(self.job.fitters)

    def finish(self, tiles: list[Tile]) -> None:
        """Fit what is not finished of some tiles.

        Raises
        ------
        WorkError
            When the memory does not suffice for one tile.
        """
        waiting = [t for t in tiles if not self.store.has(t)]
        self._total = len(tiles) * self._per_tile
        self._done = self._total - len(waiting) * self._per_tile
        side_by_side(batches(waiting, self._size), self._read, self._fit, self._write, self.seconds)
        if self.progress is not None:
            self.progress(self._total, self._total)

    def _read(self, tiles: list[Tile]) -> Loaded:
        began = time.monotonic()
        found = load(self.job, tiles)
        self.seconds.reading += time.monotonic() - began
        return found

    def _fit(self, batch: Loaded) -> Iterator[tuple[Loaded, list[Arrays]]]:
        """The batch in parts that the device's memory holds; what it does not hold once is not tried again."""
        first = 0
        while first < len(batch.tiles):
            part = batch.part(slice(first, first + self._size))
            count, began = len(part.tiles), time.monotonic()
            try:
                fitted = fit(self.job, part, self._steps(count))
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
                self._done += count * self._per_tile
                first += count
                yield part, fitted
                continue
            torch.cuda.empty_cache()  # outside the handler, whose traceback keeps the tensors alive

    def _steps(self, count: int) -> Callable[[int], None]:
        """Progress within a batch; each of a tile's fits counts its own iterations."""
        ticks = 0

        def step(_: int) -> None:
            nonlocal ticks
            ticks += 1
            if self.progress is not None:
                self.progress(self._done + ticks * count, self._total)

        return step

    def _write(self, done: tuple[Loaded, list[Arrays]]) -> None:
        began = time.monotonic()
        batch, fitted = done
        for tile, core, shown, arrays in zip(batch.tiles, batch.cores, batch.shown, fitted, strict=True):
            stored = to_stored(self.job, core, shown, arrays)
            if not self.job.paths.uncertainty:
                stored.pop("std", None)
            self.store.put(tile, stored)
        self.seconds.writing += time.monotonic() - began
