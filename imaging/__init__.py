"""Restoration of optical satellite scenes, with a calibrated standard deviation for every pixel."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imaging.version import __version__

_PUBLIC = {
    "AmortisedReconstructor": "imaging.amortised",
    "ArchiveReport": "imaging.archive",
    "FitSettings": "imaging.posterior",
    "ImagePosterior": "imaging.amortised",
    "ImagingError": "imaging.errors",
    "InputError": "imaging.errors",
    "LatentPosterior": "imaging.posterior",
    "LatentPrior": "imaging.priors",
    "LearnedRegularizer": "imaging.bilevel",
    "ModelInfo": "imaging.releases",
    "RegularizedReconstructor": "imaging.bilevel",
    "RestoreOptions": "imaging.restoration",
    "Restored": "imaging.restoration",
    "ResumeError": "imaging.errors",
    "ScenePaths": "imaging.restoration",
    "SceneResult": "imaging.restoration",
    "SensorPhysics": "imaging.sensors",
    "SensorProfile": "imaging.sensors",
    "SuperResolveOptions": "imaging.restoration",
    "SuperResolver": "imaging.superres",
    "VBLE": "imaging.posterior",
    "WorkError": "imaging.errors",
    "builtin_sensors": "imaging.sensors",
    "find_entries": "imaging.archive",
    "list_models": "imaging.superres",
    "list_networks": "imaging.amortised",
    "list_priors": "imaging.priors",
    "list_regularizers": "imaging.bilevel",
    "load_network": "imaging.amortised",
    "load_prior": "imaging.priors",
    "load_profile": "imaging.sensors",
    "load_regularizer": "imaging.bilevel",
    "local_executor": "imaging.archive",
    "plan_scene": "imaging.restoration",
    "restore": "imaging.restoration",
    "restore_archive": "imaging.archive",
    "restore_scene": "imaging.restoration",
    "sensor_physics": "imaging.sensors",
    "super_resolve": "imaging.restoration",
    "super_resolve_scene": "imaging.restoration",
    "write_profile": "imaging.sensors",
}
__all__ = ["__version__", *_PUBLIC]

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
    from imaging.restoration import Restored as Restored
    from imaging.restoration import RestoreOptions as RestoreOptions
    from imaging.restoration import ScenePaths as ScenePaths
    from imaging.restoration import SceneResult as SceneResult
    from imaging.restoration import SuperResolveOptions as SuperResolveOptions
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
    if name not in _PUBLIC:
        raise AttributeError(f"module 'imaging' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
