"""One scene, end to end: from measured values to restored values with standard deviations."""

from __future__ import annotations

from imaging.restoration.arrays import Restored, restore
from imaging.restoration.options import RestoreOptions
from imaging.restoration.paths import ScenePaths
from imaging.restoration.planning import Job, Sensor, plan_scene
from imaging.restoration.scenes import SceneResult, restore_scene, restore_tiles
from imaging.restoration.superresolution import SuperResolveOptions, super_resolve_scene

__all__ = [
    "Job",
    "RestoreOptions",
    "Restored",
    "ScenePaths",
    "SceneResult",
    "Sensor",
    "SuperResolveOptions",
    "plan_scene",
    "restore",
    "restore_scene",
    "restore_tiles",
    "super_resolve_scene",
]
