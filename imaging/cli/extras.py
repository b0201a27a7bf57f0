"""Files for people to look at beside the rasters: checked before work begins, written once the outputs are in their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import InputError, WorkError, one_line
from imaging.names import ESTIMATE

if TYPE_CHECKING:
    from imaging.restoration import FuseOptions, Fusion, Restoration, RestoreOptions, ScenePaths, SceneResult

    Make = Callable[[Restoration | Fusion, SceneResult], bytes]


def _quicklook() -> Make:
    from imaging.report import quicklook

    return quicklook


def _report() -> Make:
    from imaging.report import report

    return report


EXTRAS: dict[str, tuple[str, Callable[[], Make]]] = {"quicklook": (".png", _quicklook), "report": (".html", _report)}
"""By option: the suffix, and what imports the function that makes the file's bytes."""


def asked_for(values: dict[str, Any]) -> dict[str, Path]:
    """Extras that were asked for, with their paths."""
    return {name: values[name] for name in EXTRAS if values.get(name) is not None}


def check_extras(paths: ScenePaths, options: RestoreOptions | FuseOptions, values: dict[str, Any]) -> None:
    """Refuse extras that cannot be written or would replace something else; `InputError` with the reason."""
    asked = asked_for(values)
    if not asked:
        return
    from imaging.report.side_files import check_extra
    from imaging.restoration import outputs_for

    taken = outputs_for(paths, options)[0].outputs(options.samples, estimated=values["sensor"] == ESTIMATE)
    for name, path in asked.items():
        if values["reference"] is not None:
            check_extra(path, EXTRAS[name][0], taken, values["reference"], overwrite=True)
        for source in (s for s in (paths.input, paths.pan) if s is not None):
            check_extra(path, EXTRAS[name][0], taken, source, paths.overwrite)
        taken.append(path)


def after_scene(values: dict[str, Any]) -> Callable[[Restoration | Fusion, SceneResult], None] | None:
    """What is to be done after the scene; None without extras."""
    asked = asked_for(values)
    if not asked:
        return None
    makers = {name: EXTRAS[name][1]() for name in asked}

    def write(job: Restoration | Fusion, result: SceneResult) -> None:
        for name, path in asked.items():
            _write(path, job, _made(name, makers[name], job, result))

    return write


def _made(name: str, make: Make, job: Restoration | Fusion, result: SceneResult) -> bytes:
    try:
        return make(job, result)
    except Exception as error:
        raise WorkError(f"the scene is restored, but the {name} could not be made ({type(error).__name__}: {one_line(error)})") from error


def _write(path: Path, job: Restoration | Fusion, data: bytes) -> None:
    from imaging.raster import write_whole

    if path.exists() and any(f.exists() and path.samefile(f) for f in job.scene.files):
        raise WorkError(f"the scene is restored, but {path} is a part of the input and is kept; choose another name")
    try:
        write_whole(path, data)
    except InputError as error:
        raise WorkError(f"the scene is restored, but {path} is not written: {error}") from error
