"""Landsat 8 and 9, Collection 2, level 1 and surface reflectance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imaging.errors import InputError
from imaging.raster import Assembly, Part, Scaling
from imaging.sensors.products.metadata import read_keys
from imaging.sensors.products.scene import ProductScene
from imaging.sensors.reader import load_profile

_SENSOR = "landsat8"
_MISSIONS = {"LANDSAT_8", "LANDSAT_9"}
_SCENES = {"PAN": ("PAN",), "MS": ("B1", "B2", "B3", "B4", "B5", "B6", "B7")}
_NUMBERS = {"PAN": 8}


def landsat_file(folder: Path) -> Path | None:
    """The product's metadata file."""
    return next(iter(sorted(folder.glob("*_MTL.txt"))), None)


def landsat_scenes(folder: Path, path: Path) -> list[ProductScene]:
    """The scenes of 15 m (panchromatic) and 30 m, thermal and cirrus bands left out.

    Raises
    ------
    InputError
        For another mission, or when metadata or rasters are not complete.
    """
    keys = read_keys(path)
    mission = keys.get("SPACECRAFT_ID", "")
    if mission not in _MISSIONS:
        raise InputError(f"{path} is of {mission or 'no spacecraft'}; accepted are {', '.join(sorted(_MISSIONS))}")
    profile, found = load_profile(_SENSOR), []
    by_name = {b.name: b for b in profile.bands}
    for name, bands in _SCENES.items():
        numbers = {b: _NUMBERS.get(b) or int(b[1:]) for b in bands}
        there = [b for b in bands if f"FILE_NAME_BAND_{numbers[b]}" in keys]
        if not there:
            continue
        parts = tuple((Part(folder / keys[f"FILE_NAME_BAND_{numbers[b]}"]),) for b in there)
        scaling = tuple(s for b in there if (s := _scaling(keys, numbers[b])) is not None)
        assembly = Assembly(parts, tuple(there), 0.0, scaling if len(scaling) == len(there) else ())
        notes = [
            f"{mission.replace('_', ' ').title()} {keys.get('PROCESSING_LEVEL', 'level unknown')}, {name}: sensor {_SENSOR}",
            "noise is estimated from the scene, which was resampled on the ground: its standard deviation may come out too small",
        ]
        found.append(ProductScene(folder, name, assembly, replace(profile, bands=tuple(by_name[b] for b in there)), tuple(notes)))
    if not found:
        raise InputError(f"{path} names no band that can be restored")
    return found


def _scaling(keys: dict[str, str], number: int) -> Scaling | None:
    """Reflectance of the stored values, at level 1 not yet divided by the sine of the sun's elevation."""
    try:
        return Scaling(float(keys[f"REFLECTANCE_MULT_BAND_{number}"]), float(keys[f"REFLECTANCE_ADD_BAND_{number}"]), "reflectance")
    except (KeyError, ValueError):
        return None
