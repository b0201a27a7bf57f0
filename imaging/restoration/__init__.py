"""One scene, end to end: from measured values to restored values with standard deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.restoration.arrays import Restored, restore, super_resolve
    from imaging.restoration.deciding import Sensor, check_choice
    from imaging.restoration.fuse_arrays import fuse
    from imaging.restoration.fuse_files import fuse_scene
    from imaging.restoration.fuse_options import FuseOptions
    from imaging.restoration.fusing import FusedResult, Fusion
    from imaging.restoration.options import RestoreOptions, SuperResolveOptions
    from imaging.restoration.paths import ScenePaths, check_name
    from imaging.restoration.pipeline import SceneResult
    from imaging.restoration.request import check_names, check_no_estimate, check_request, outputs_for, regularizer_method
    from imaging.restoration.restoring import Restoration, open_restoration
    from imaging.restoration.scenes import Options, as_path, plan_of, plan_scene, restore_scene, run_scene, run_tiles, super_resolve_scene
    from imaging.restoration.superresolution import find_resolver, scale_of
else:
    _modules = {
        "imaging.restoration.arrays": "Restored restore super_resolve",
        "imaging.restoration.deciding": "Sensor check_choice",
        "imaging.restoration.fuse_arrays": "fuse",
        "imaging.restoration.fuse_files": "fuse_scene",
        "imaging.restoration.fuse_options": "FuseOptions",
        "imaging.restoration.fusing": "FusedResult Fusion",
        "imaging.restoration.options": "RestoreOptions SuperResolveOptions",
        "imaging.restoration.paths": "ScenePaths check_name",
        "imaging.restoration.pipeline": "SceneResult",
        "imaging.restoration.request": "check_names check_no_estimate check_request outputs_for regularizer_method",
        "imaging.restoration.restoring": "Restoration open_restoration",
        "imaging.restoration.scenes": "Options as_path plan_of plan_scene restore_scene run_scene run_tiles super_resolve_scene",
        "imaging.restoration.superresolution": "find_resolver scale_of",
    }
    __getattr__, __dir__ = on_first_use(
        __name__, _modules, Job="imaging.restoration.Restoration", restore_tiles="imaging.restoration.run_tiles"
    )

__all__ = [
    "FuseOptions", "FusedResult", "Fusion", "Options", "Restoration", "RestoreOptions", "Restored", "ScenePaths", "SceneResult", "Sensor",
    "SuperResolveOptions", "as_path", "check_choice", "check_name", "check_names", "check_no_estimate", "check_request", "find_resolver",
    "fuse", "fuse_scene", "open_restoration", "outputs_for", "plan_of", "plan_scene", "regularizer_method", "restore", "restore_scene",
    "run_scene", "run_tiles", "scale_of", "super_resolve", "super_resolve_scene",
]  # fmt: skip
