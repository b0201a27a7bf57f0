"""Files of one scene: restored or super-resolved, planned, or shared among processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from imaging.former import formerly
from imaging.restoration.comparison import check_reference, compare
from imaging.restoration.deciding import Sensor
from imaging.restoration.engine import Engine
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.options import RestoreOptions, SuperResolveOptions, checked
from imaging.restoration.paths import ScenePaths
from imaging.restoration.pipeline import Progress, Run, SceneResult, result_of, run, store_of
from imaging.restoration.restoring import Restoration, open_restoration

Options = RestoreOptions | SuperResolveOptions | FuseOptions
"""What is to be done with a scene, and how."""


def _former_paths(paths: Any = None, *others: Any, **more: Any) -> dict[str, Any] | None:
    """The keywords of today for a call of a scene's function with `ScenePaths`; None for one of today."""
    if not isinstance(paths, ScenePaths):
        return None
    names = ("input", "output", "std", "uncertainty", "save_samples", "overwrite", "resume")
    return {n: getattr(paths, n) for n in names} | dict(zip(("sensor", "options"), others, strict=False)) | more


def _former_fine(paths: Any = None, *others: Any, **more: Any) -> dict[str, Any] | None:
    """The same of super-resolution, whose output was beside the input as ``*_restored.tif``."""
    if not isinstance(paths, ScenePaths):
        return None
    kept = {n: getattr(paths, n) for n in ("input", "overwrite", "resume")}
    return kept | {"output": paths.restored_path} | dict(zip(("options",), others, strict=False)) | more


@formerly(_former_paths, "restore_scene(input, sensor, output=..., options=...)")
def restore_scene(
    input: str | Path, sensor: Sensor = None, *, output: str | Path | None = None, std: str | Path | None = None, uncertainty: bool = True,
    save_samples: str | Path | None = None, overwrite: bool = False, resume: bool = False, options: RestoreOptions | None = None,
    reference: str | Path | None = None, progress: Progress | None = None,
    afterwards: Callable[[Restoration, SceneResult], None] | None = None,
) -> SceneResult:  # fmt: skip
    """Restore one raster file into a GeoTIFF and its standard deviations.

    Parameters
    ----------
    input : str or Path
        The scene: a raster, or a product's folder or metadata file, or ``PRODUCT/NAME`` for one of several scenes of a product.
    sensor : str, SensorProfile or None
        Name of a profile, path of a TOML file, a profile, ``"estimate"`` for one estimated from the scene, which is then written beside
        the restored scene as ``*_sensor.toml``, or None for what a product's metadata say.
    output, std : str or Path, optional
        Restored scene and standard deviations; by default ``*_restored.tif`` and ``*_std.tif`` beside the input.
    uncertainty : bool
        Whether the standard deviations are written.
    save_samples : str or Path, optional
        Existing folder for the posterior samples that ``options`` ask for.
    overwrite : bool
        Whether existing outputs are replaced.
    resume : bool
        Whether finished tiles of an interrupted run are taken over.
    options : RestoreOptions, optional
        Settings.
    reference : str or Path, optional
        Truth on the same grid; the result then holds PSNR before and after, and interval coverage.
    progress : callable, optional
        Called with (finished, total) iterations.
    afterwards : callable, optional
        Called with the restoration and its result once all outputs are in their places, while the scene is still open: for reports and
        pictures.

    Returns
    -------
    SceneResult
        What was done.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    WorkError
        When something failed later: the input changed, the memory did not suffice; nothing is written then either.

    Examples
    --------
    >>> import imaging
    >>> imaging.restore_scene("scene.tif", "pleiades", output="better.tif").seconds  # doctest: +SKIP
    """
    paths = ScenePaths(
        input=Path(input), output=as_path(output), std=as_path(std), uncertainty=uncertainty, save_samples=as_path(save_samples),
        overwrite=overwrite, resume=resume,
    )  # fmt: skip
    return run_scene(
        paths, sensor, checked(options, RestoreOptions), reference=as_path(reference), progress=progress, afterwards=afterwards
    )


@formerly(_former_fine, "super_resolve_scene(input, output=..., options=...)")
def super_resolve_scene(
    input: str | Path, *, output: str | Path | None = None, overwrite: bool = False, resume: bool = False,
    options: SuperResolveOptions | None = None, progress: Progress | None = None,
) -> SceneResult:  # fmt: skip
    """Super-resolve one raster file into a GeoTIFF on a grid so many times as fine; there are no standard deviations.

    Parameters
    ----------
    input : str or Path
        The scene: a raster, or a product's folder or metadata file, or ``PRODUCT/NAME`` for one of several scenes of a product.
    output : str or Path, optional
        By default ``*_x2.tif`` or ``*_x4.tif`` beside the input.
    overwrite : bool
        Whether an existing output is replaced.
    resume : bool
        Whether finished tiles of an interrupted run are taken over.
    options : SuperResolveOptions, optional
        Settings.
    progress : callable, optional
        Called with (finished, total) tiles.

    Returns
    -------
    SceneResult
        With the network as prior.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    WorkError
        When something failed later; nothing is written then either.

    Examples
    --------
    >>> import imaging
    >>> options = imaging.SuperResolveOptions(scale=4)
    >>> imaging.super_resolve_scene("scene.tif", output="fine.tif", options=options).megapixels  # doctest: +SKIP
    """
    options = checked(options, SuperResolveOptions)
    from imaging.restoration.superresolution import scale_of

    source = Path(input)
    target = as_path(output) or source.absolute().with_name(f"{source.absolute().stem}_x{scale_of(options)}.tif")
    paths = ScenePaths(input=source, output=target, uncertainty=False, overwrite=overwrite, resume=resume)
    return run_scene(paths, None, options, progress=progress)


def as_path(given: str | Path | None) -> Path | None:
    """A path as the standard library has it."""
    return None if given is None else Path(given)


def open_engine(paths: ScenePaths, sensor: Sensor, options: Options) -> Engine:
    """Open a scene and decide what is done with it; nothing is written; `InputError` for whatever cannot be used, with the reason."""
    if isinstance(options, SuperResolveOptions):
        from imaging.restoration.superresolution import open_super_resolution

        return open_super_resolution(replace(paths, uncertainty=False), options)
    if isinstance(options, FuseOptions):
        from imaging.restoration.fusion_opening import open_fusion

        return open_fusion(paths, sensor, options)
    return open_restoration(paths, sensor, options)


def run_scene(
    paths: ScenePaths, sensor: Sensor, options: Options, *, reference: Path | None = None, progress: Progress | None = None,
    elsewhere: Callable[[int], list[str]] | None = None, afterwards: Callable[[Any, SceneResult], None] | None = None,
) -> SceneResult:  # fmt: skip
    """Restore or super-resolve one scene, as its options say.

    Parameters
    ----------
    paths, sensor, options, reference, progress, afterwards
        As of `restore_scene` and `super_resolve_scene`.
    elsewhere : callable, optional
        Called with the number of tiles before the first is worked on; what it has other processes do with `run_tiles` is taken over, the
        rest done here. Returns what the user should know.

    Raises
    ------
    ImagingError
        As by those.
    """
    began = time.monotonic()
    engine = open_engine(paths, sensor, options)
    with engine:
        if reference is not None:
            check_reference(engine, reference)
        stages = run(engine, progress, elsewhere)
        figures = None if reference is None else compare(engine, reference)
        result = result_of(engine, time.monotonic() - began, stages, figures)
        if afterwards is not None:
            afterwards(engine, result)
    return result


def run_tiles(paths: ScenePaths, sensor: Sensor, options: Options, first: int, last: int) -> int:
    """Work on some of a scene's tiles for a `run_scene` that goes on elsewhere and takes them over.

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
    engine = open_engine(replace(paths, resume=True), sensor, options)
    with engine:
        store = store_of(engine)
        store.join()
        tiles = engine.tiles[first:last]
        missing = sum(not store.has(t) for t in tiles)
        Run(engine, store).finish(tiles)
    return missing


@formerly(_former_paths, "plan_scene(input, sensor, output=..., options=...)")
def plan_scene(
    input: str | Path, sensor: Sensor = None, *, output: str | Path | None = None, std: str | Path | None = None, uncertainty: bool = True,
    save_samples: str | Path | None = None, overwrite: bool = False, resume: bool = False, options: RestoreOptions | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What a restoration would do, without doing it: outputs, tiles, windows, decoder work, temporary disk space.

    Parameters
    ----------
    input, sensor, output, std, uncertainty, save_samples, overwrite, resume, options
        As of `imaging.restore_scene`.

    Returns
    -------
    dict
        Sizes in pixels of the outputs, ``disk_mb`` in MB, ``notes`` for the user; what the command shows with ``--dry-run``.

    Raises
    ------
    InputError
        When something given cannot be used.
    """
    paths = ScenePaths(
        input=Path(input), output=as_path(output), std=as_path(std), uncertainty=uncertainty, save_samples=as_path(save_samples),
        overwrite=overwrite, resume=resume,
    )  # fmt: skip
    return plan_of(paths, sensor, checked(options, RestoreOptions))


def plan_of(paths: ScenePaths, sensor: Sensor, options: RestoreOptions | FuseOptions) -> dict[str, Any]:
    """What `plan_scene` tells of these files."""
    engine: Any = open_engine(paths, sensor, options)
    with engine:
        windows, method = [t.window for t in engine.tiles], engine.method
        return {
            "input": str(paths.input), "outputs": [str(p) for p in engine.outputs], "sensor": engine.profile.name,
            "prior": method.name, "method": method.kind, "width": engine.grid.width, "height": engine.grid.height,
            "bands": list(engine.scene.bands), "tiles": len(windows), "largest_window": max(max(w.height, w.width) for w in windows),
            "window_megapixels": sum(w.height * w.width for w in windows) / 1e6, "tile": engine.plan.side, "halo": engine.plan.halo,
            "iterations": method.steps, **engine.planned(),
            "disk_mb": round(engine.disk_need / 1e6, 1), "notes": engine.notes,
        }  # fmt: skip
