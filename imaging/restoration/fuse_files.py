"""Fusing the files of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imaging.restoration.deciding import Sensor
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.fusing import FusedResult
from imaging.restoration.options import checked
from imaging.restoration.paths import ScenePaths
from imaging.restoration.pipeline import Progress
from imaging.restoration.scenes import as_path, run_scene


def fuse_scene(
    ms: str | Path, pan: str | Path | None = None, sensor: Sensor = None, *, output: str | Path | None = None,
    std: str | Path | None = None, uncertainty: bool = True, save_samples: str | Path | None = None, overwrite: bool = False,
    resume: bool = False, options: FuseOptions | None = None, reference: str | Path | None = None, progress: Progress | None = None,
    afterwards: Callable[[Any, Any], None] | None = None,
) -> FusedResult:  # fmt: skip
    """Fuse a multispectral and a panchromatic file into a GeoTIFF of the multispectral bands on the panchromatic grid, with deviations.

    Parameters
    ----------
    ms : str or Path
        The multispectral scene: a raster, or a product's scene as ``PRODUCT/NAME``; or the folder of a product that holds both.
    pan : str or Path, optional
        The panchromatic scene, of the same place and moment, 2 to 6 times as fine; not with a product of both.
    sensor : str, SensorProfile or None
        Name of a profile, path of a TOML file, or a profile, with one band of a finer ground sample distance than the others; None for what
        products' metadata say.
    output, std : str or Path, optional
        Fused scene and standard deviations; by default ``*_restored.tif`` and ``*_std.tif`` beside the multispectral scene.
    uncertainty, save_samples, overwrite, resume
        As of `imaging.restore_scene`.
    options : FuseOptions, optional
        Settings.
    reference : str or Path, optional
        Truth on the panchromatic grid; the result then holds PSNR before and after, and interval coverage.
    progress, afterwards : callable, optional
        As of `imaging.restore_scene`.

    Returns
    -------
    FusedResult
        What was done, with the spectral weights and the shift that were found.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    WorkError
        When something failed later; nothing is written then either.

    Examples
    --------
    >>> import imaging
    >>> imaging.fuse_scene("ms.tif", "pan.tif", "pleiades", output="fused.tif").pan_weights  # doctest: +SKIP
    """
    paths = ScenePaths(
        input=Path(ms), pan=as_path(pan), output=as_path(output), std=as_path(std), uncertainty=uncertainty,
        save_samples=as_path(save_samples), overwrite=overwrite, resume=resume,
    )  # fmt: skip
    result = run_scene(paths, sensor, checked(options, FuseOptions), reference=as_path(reference), progress=progress, afterwards=afterwards)
    return result  # type: ignore[return-value]
