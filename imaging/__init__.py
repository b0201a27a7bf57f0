"""Restoration of optical satellite scenes, with a calibrated standard deviation for every pixel."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "FitSettings": "imaging.posterior",
    "ImagingError": "imaging.errors",
    "InputError": "imaging.errors",
    "LatentPosterior": "imaging.posterior",
    "RestoreOptions": "imaging.restoration",
    "SuperResolveOptions": "imaging.restoration",
    "SuperResolver": "imaging.superres",
    "VBLE": "imaging.posterior",
    "WorkError": "imaging.errors",
    "list_priors": "imaging.priors",
    "load_prior": "imaging.priors",
    "load_profile": "imaging.sensors",
    "restore": "imaging.restoration",
    "restore_scene": "imaging.restoration",
    "sensor_physics": "imaging.sensors",
    "super_resolve_scene": "imaging.restoration",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from imaging.errors import ImagingError as ImagingError
    from imaging.errors import InputError as InputError
    from imaging.errors import WorkError as WorkError
    from imaging.posterior import VBLE as VBLE
    from imaging.posterior import FitSettings as FitSettings
    from imaging.posterior import LatentPosterior as LatentPosterior
    from imaging.priors import list_priors as list_priors
    from imaging.priors import load_prior as load_prior
    from imaging.restoration import RestoreOptions as RestoreOptions
    from imaging.restoration import SuperResolveOptions as SuperResolveOptions
    from imaging.restoration import restore as restore
    from imaging.restoration import restore_scene as restore_scene
    from imaging.restoration import super_resolve_scene as super_resolve_scene
    from imaging.sensors import load_profile as load_profile
    from imaging.sensors import sensor_physics as sensor_physics
    from imaging.superres import SuperResolver as SuperResolver


def __getattr__(name: str) -> Any:
    """Import public names on first use: the networks' libraries take seconds to load."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'imaging' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
