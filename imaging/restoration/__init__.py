"""One scene, end to end: from measured values to restored values with standard deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.former import former_names
from imaging.restoration.arrays import Restored, restore, super_resolve
from imaging.restoration.deciding import Sensor, check_choice
from imaging.restoration.options import RestoreOptions, SuperResolveOptions
from imaging.restoration.paths import ScenePaths
from imaging.restoration.pipeline import SceneResult
from imaging.restoration.restoring import Restoration, open_restoration, outputs_for
from imaging.restoration.scenes import Options, as_path, plan_of, plan_scene, restore_scene, run_scene, run_tiles, super_resolve_scene
from imaging.restoration.superresolution import find_resolver, scale_of

__all__ = [
    "Options", "Restoration", "RestoreOptions", "Restored", "ScenePaths", "SceneResult", "Sensor", "SuperResolveOptions", "as_path",
    "check_choice", "find_resolver", "open_restoration", "outputs_for", "plan_of", "plan_scene", "restore", "restore_scene",
    "run_scene", "run_tiles", "scale_of", "super_resolve", "super_resolve_scene",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, Job="imaging.restoration.Restoration", restore_tiles="imaging.restoration.run_tiles")
