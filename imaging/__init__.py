"""Restoration of optical satellite scenes, with a calibrated standard deviation for every pixel."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from imaging.version import __version__

_ROOMS = {
    "imaging.amortised": "AmortisedReconstructor ImagePosterior list_networks load_network",
    "imaging.archive": "ArchiveReport find_entries local_executor restore_archive",
    "imaging.bilevel": "LearnedRegularizer RegularizedReconstructor list_regularizers load_regularizer",
    "imaging.errors": "ImagingError InputError ResumeError WorkError",
    "imaging.posterior": "FitSettings LatentPosterior VBLE",
    "imaging.priors": "LatentPrior list_priors load_prior",
    "imaging.releases": "ModelInfo",
    "imaging.restoration": "FuseOptions FusedResult RestoreOptions Restored ScenePaths SceneResult SuperResolveOptions fuse fuse_scene "
    "plan_scene restore restore_scene super_resolve super_resolve_scene",
    "imaging.sensors": "SensorPhysics SensorProfile builtin_sensors load_profile sensor_physics write_profile",
    "imaging.superres": "SuperResolver list_models",
}
_PUBLIC = {name: room for room, names in _ROOMS.items() for name in names.split()}
_FORMER = {"PriorInfo": "ModelInfo"}
"""Names that go on for one version."""
_GUESSES = {
    "restore_array": "arrays are restored by imaging.restore", "restore_file": "files are restored by imaging.restore_scene",
    "restore_folder": "folders are restored by imaging.restore_archive", "list_sensors": "there is imaging.builtin_sensors",
}  # fmt: skip
__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from imaging.amortised import AmortisedReconstructor as AmortisedReconstructor
    from imaging.amortised import ImagePosterior as ImagePosterior
    from imaging.amortised import list_networks as list_networks
    from imaging.amortised import load_network as load_network
    from imaging.archive import ArchiveReport as ArchiveReport
    from imaging.archive import find_entries as find_entries
    from imaging.archive import local_executor as local_executor
    from imaging.archive import restore_archive as restore_archive
    from imaging.bilevel import LearnedRegularizer as LearnedRegularizer
    from imaging.bilevel import RegularizedReconstructor as RegularizedReconstructor
    from imaging.bilevel import list_regularizers as list_regularizers
    from imaging.bilevel import load_regularizer as load_regularizer
    from imaging.errors import ImagingError as ImagingError
    from imaging.errors import InputError as InputError
    from imaging.errors import ResumeError as ResumeError
    from imaging.errors import WorkError as WorkError
    from imaging.posterior import VBLE as VBLE
    from imaging.posterior import FitSettings as FitSettings
    from imaging.posterior import LatentPosterior as LatentPosterior
    from imaging.priors import LatentPrior as LatentPrior
    from imaging.priors import list_priors as list_priors
    from imaging.priors import load_prior as load_prior
    from imaging.releases import ModelInfo as ModelInfo
    from imaging.restoration import FusedResult as FusedResult
    from imaging.restoration import FuseOptions as FuseOptions
    from imaging.restoration import Restored as Restored
    from imaging.restoration import RestoreOptions as RestoreOptions
    from imaging.restoration import ScenePaths as ScenePaths
    from imaging.restoration import SceneResult as SceneResult
    from imaging.restoration import SuperResolveOptions as SuperResolveOptions
    from imaging.restoration import fuse as fuse
    from imaging.restoration import fuse_scene as fuse_scene
    from imaging.restoration import plan_scene as plan_scene
    from imaging.restoration import restore as restore
    from imaging.restoration import restore_scene as restore_scene
    from imaging.restoration import super_resolve as super_resolve
    from imaging.restoration import super_resolve_scene as super_resolve_scene
    from imaging.sensors import SensorPhysics as SensorPhysics
    from imaging.sensors import SensorProfile as SensorProfile
    from imaging.sensors import builtin_sensors as builtin_sensors
    from imaging.sensors import load_profile as load_profile
    from imaging.sensors import sensor_physics as sensor_physics
    from imaging.sensors import write_profile as write_profile
    from imaging.superres import SuperResolver as SuperResolver
    from imaging.superres import list_models as list_models


def __getattr__(name: str) -> Any:
    """Import public names on first use: the networks' libraries take seconds to load."""
    if name in _FORMER:
        warnings.warn(f"imaging.{name} is now imaging.{_FORMER[name]}", DeprecationWarning, stacklevel=2)
        name = _FORMER[name]
    if name not in _PUBLIC:
        from imaging.errors import did_you_mean

        hint = _GUESSES.get(name) or did_you_mean(name, __all__)
        raise AttributeError(f"module 'imaging' has no attribute {name!r}; {hint}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
