"""Restoring a file: read, fit, write."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imaging
from imaging.errors import WorkError
from imaging.raster import Tile, TileStore, publish, write_output, write_style
from imaging.restoration.comparison import check_reference, compare
from imaging.restoration.options import RestoreOptions
from imaging.restoration.paths import ScenePaths
from imaging.restoration.pipeline import Progress, Run, Seconds
from imaging.restoration.planning import Job, Sensor, check_disk, fingerprint, prepare
from imaging.restoration.products import products
from imaging.sensors import write_profile


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
        Seconds of each stage, see `imaging.restoration.pipeline.Seconds`.
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


def restore_scene(
    paths: ScenePaths, sensor: Sensor, options: RestoreOptions | None = None, *, progress: Progress | None = None,
    reference: Path | None = None, elsewhere: Callable[[int], list[str]] | None = None,
    afterwards: Callable[[Job, SceneResult], None] | None = None,
) -> SceneResult:  # fmt: skip
    """Restore one raster file into a GeoTIFF and its standard deviations.

    Parameters
    ----------
    paths : ScenePaths
        Input and outputs.
    sensor : str, SensorProfile or None
        Name of a profile, path of a TOML file, a profile, ``"estimate"`` for one estimated from the scene, which is then written beside
        the restored scene as ``*_sensor.toml``, or None for what a product's metadata say.
    options : RestoreOptions, optional
        Settings.
    progress : callable, optional
        Called with (finished, total) iterations.
    reference : Path, optional
        Truth on the same grid; the result then holds PSNR before and after, and interval coverage.
    elsewhere : callable, optional
        Called with the number of tiles before the first is fitted; what it has other processes fit with `restore_tiles` is taken over,
        the rest fitted here. Returns what the user should know.
    afterwards : callable, optional
        Called once all outputs are in their places, while the scene is still open: for reports and pictures.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    WorkError
        When something failed later: the input changed, the memory did not suffice; nothing is written then either.
    """
    began, options = time.monotonic(), options or RestoreOptions()
    job = prepare(paths, sensor, options)
    seconds = Seconds()
    with job.scene:
        if reference is not None:
            check_reference(job, reference)
        check_disk(job.outputs, job.disk_need)
        mark = fingerprint(job)
        store = TileStore(paths.restored_path, mark, job.outputs)
        tiles = job.plan.tiles()
        with store.running(resume=paths.resume):
            if elsewhere is not None:
                job.notes.extend(elsewhere(len(tiles)))
            Run(job, store, progress, seconds).finish(tiles)
            written = _written(job, tiles, store)
            if fingerprint(job) != mark:
                raise WorkError(f"{paths.input} changed while it was restored; nothing is written")
            publish(written)
        figures = None if reference is None else compare(job, reference)
        result = _result(job, time.monotonic() - began, seconds, figures)
        if afterwards is not None:
            afterwards(job, result)
    return result


def _written(job: Job, tiles: list[Tile], store: TileStore) -> list[tuple[Path, Path]]:
    """Write all outputs into the hidden folder; with their places, in the order in which they are to appear."""
    written = [(write_output(job.grid, p, tiles, store), p.path) for p in products(job)]
    if job.paths.style_path is not None:  # standard deviations come first
        written.insert(1, (write_style(written[0][0]), job.paths.style_path))
    if job.estimated:
        profile = store.folder / job.paths.sensor_path.name
        write_profile(job.profile, profile)
        written.insert(0, (profile, job.paths.sensor_path))
    return written


def restore_tiles(paths: ScenePaths, sensor: Sensor, options: RestoreOptions, first: int, last: int) -> int:
    """Fit some of a scene's tiles for a `restore_scene` that runs elsewhere and takes them over.

    Parameters
    ----------
    paths, sensor, options
        The same as there.
    first, last : int
        Numbers of the tiles, from ``first`` up to ``last - 1``, row by row.

    Returns
    -------
    int
        How many had not been finished before.

    Raises
    ------
    ResumeError
        When no such run is under way, or one with other settings.
    """
    job = prepare(replace(paths, resume=True), sensor, options)
    with job.scene:
        store = TileStore(paths.restored_path, fingerprint(job), job.outputs)
        store.join()
        tiles = job.plan.tiles()[first:last]
        missing = sum(not store.has(t) for t in tiles)
        Run(job, store).finish(tiles)
    return missing


def peak_memory_mb() -> float:
    """Most memory that this process has had, MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3), 1)


def _result(job: Job, seconds: float, stages: Seconds, figures: dict[str, float] | None) -> SceneResult:
    std = job.paths.std_path
    grid = job.grid
    return SceneResult(
        input=str(job.paths.input), restored=str(job.paths.restored_path), std=None if std is None else str(std), sensor=job.profile.name,
        sensor_file=str(job.paths.sensor_path) if job.estimated else None,
        prior=job.method.name, method=job.method.kind, scale=job.options.scale, width=grid.width, height=grid.height,
        bands=list(job.scene.bands), iterations=job.method.steps, seconds=round(seconds, 2),
        stages=stages.rounded(), megapixels=grid.width * grid.height / 1e6,
        peak_memory_mb=peak_memory_mb(), seed=job.options.seed, version=imaging.__version__, notes=job.notes, reference=figures,
    )  # fmt: skip
