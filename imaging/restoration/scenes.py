"""Restoring a file: read, fit, write."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import imaging
from imaging.raster import Tile, TileStore, publish, write_product
from imaging.restoration.comparison import check_reference, compare
from imaging.restoration.options import RestoreOptions, ScenePaths
from imaging.restoration.planning import Job, check_disk, fingerprint, prepare
from imaging.restoration.products import products, to_stored
from imaging.sensors import SensorProfile

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SceneResult:
    """What was done; the fields of the command's JSON object. Sizes in pixels of the outputs, memory in MB, time in seconds."""

    input: str
    restored: str
    std: str | None
    sensor: str
    prior: str
    method: str
    scale: int
    width: int
    height: int
    bands: list[int]
    iterations: int
    seconds: float
    megapixels: float
    peak_memory_mb: float
    seed: int
    version: str
    notes: list[str]
    reference: dict[str, float] | None = None


def _batches(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
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


def _fit_batch(job: Job, batch: list[Tile], step: Callable[[int], None]) -> list[dict[str, NDArray[Any]]]:
    """Stored arrays of each tile's core."""
    read = [job.scene.read(job.measured(t)) for t in batch]
    values, valid = np.stack([v for v, _ in read]), np.stack([m for _, m in read])
    origins = [job.plan.origin(t, job.prior.stride) for t in batch]
    parts: list[list[dict[str, NDArray[Any]]]] = [[] for _ in batch]
    for fitter in job.fitters:
        arrays = fitter(values[:, fitter.indices], valid[:, fitter.indices], origins, job.options.samples, step)
        for k, tile in enumerate(batch):
            core, window = tile.core, tile.window
            cut = (slice(core.row - window.row, core.row - window.row + core.height),
                   slice(core.column - window.column, core.column - window.column + core.width))  # fmt: skip
            parts[k].append({name: array[k][(slice(None), *cut)] for name, array in arrays.items()})
    return [to_stored(job, t, {n: np.concatenate([p[n] for p in ps]) for n in ps[0]}) for t, ps in zip(batch, parts, strict=True)]


def restore_scene(
    paths: ScenePaths, sensor: str | SensorProfile, options: RestoreOptions | None = None, *, progress: Progress | None = None,
    reference: Path | None = None,
) -> SceneResult:  # fmt: skip
    """Restore one raster file into a GeoTIFF and its standard deviations.

    Parameters
    ----------
    paths : ScenePaths
        Input and outputs.
    sensor : str or SensorProfile
        Name of a profile, path of a TOML file, or a profile.
    options : RestoreOptions, optional
        Settings.
    progress : callable, optional
        Called with (finished, total) iterations.
    reference : Path, optional
        Truth on the same grid; the result then holds PSNR before and after, and interval coverage.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    """
    began, options = time.monotonic(), options or RestoreOptions()
    job = prepare(paths, sensor, options)
    with job.scene:
        if reference is not None:
            check_reference(job, reference)
        check_disk(job)
        store = TileStore(paths.restored_path, fingerprint(job), tuple(paths.outputs(options.samples)))
        store.open(resume=paths.resume)
        try:
            _run_tiles(job, store, progress)
            tiles = job.plan.tiles()
            publish([(write_product(job.grid, p, tiles, store), p.path) for p in products(job)])
        except Exception:
            store.discard()
            raise
        store.discard()
        figures = None if reference is None else compare(job, reference)
    return _result(job, time.monotonic() - began, figures)


def _run_tiles(job: Job, store: TileStore, progress: Progress | None) -> None:
    tiles = job.plan.tiles()
    per_tile = job.options.iterations * sum(f.method.settings.lattices for f in job.fitters)
    done, total = 0, len(tiles) * per_tile
    todo = [t for t in tiles if not store.has(t)]
    done += (len(tiles) - len(todo)) * per_tile
    size = job.batch
    pending = list(_batches(todo, size))
    while pending:
        batch = pending.pop(0)
        ticks = 0

        def step(_: int) -> None:
            nonlocal ticks
            ticks += 1
            if progress is not None:
                progress(done + ticks * len(batch), total)  # noqa: B023

        try:
            finished = _fit_batch(job, batch, step)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
            torch.cuda.empty_cache()
            pending[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            continue
        for tile, arrays in zip(batch, finished, strict=True):
            if not job.paths.uncertainty:
                arrays.pop("std")
            store.put(tile, arrays)
        done += len(batch) * per_tile
    if progress is not None:
        progress(total, total)


def _result(job: Job, seconds: float, figures: dict[str, float] | None) -> SceneResult:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    std = job.paths.std_path
    return SceneResult(
        input=str(job.paths.input), restored=str(job.paths.restored_path), std=None if std is None else str(std), sensor=job.profile.name,
        prior=job.prior_info.name, method=job.options.method, scale=job.options.scale, width=job.grid.width, height=job.grid.height,
        bands=list(job.scene.bands), iterations=job.options.iterations, seconds=round(seconds, 2),
        megapixels=job.grid.width * job.grid.height / 1e6, peak_memory_mb=round(memory, 1), seed=job.options.seed,
        version=imaging.__version__, notes=job.notes, reference=figures,
    )  # fmt: skip
