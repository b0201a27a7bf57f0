"""Landsat 8 and 9, Collection 2, level 1 and surface reflectance."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from imaging.errors import InputError
from imaging.raster import Assembly, Part, Scaling
from imaging.sensors.products.metadata import file_within, moment, read_keys
from imaging.sensors.products.recognition import landsat_files
from imaging.sensors.products.scene import ProductScene
from imaging.sensors.reader import load_profile

_SENSOR = "landsat8"
_MISSIONS = {"LANDSAT_8", "LANDSAT_9"}
_SCENES = {"PAN": ("PAN",), "MS": ("B1", "B2", "B3", "B4", "B5", "B6", "B7")}
_NUMBERS = {"PAN": 8}


def landsat_scenes(folder: Path, path: Path) -> list[ProductScene]:
    """The scenes of 15 m (panchromatic, level 1 only) and 30 m, thermal and cirrus bands left out.

    `InputError` for another mission, or when metadata or rasters are not complete.
    """
    groups = read_keys(path)
    # Level 2 repeats the metadata of level 1, files that are not delivered included, in groups of their own.
    contents, attributes = groups.get("PRODUCT_CONTENTS", {}), groups.get("IMAGE_ATTRIBUTES", {})
    mission = attributes.get("SPACECRAFT_ID", "")
    if mission not in _MISSIONS:
        raise InputError(f"{path} is of {mission or 'no spacecraft'}; accepted are {', '.join(sorted(_MISSIONS))}")
    acquired = moment(attributes.get("DATE_ACQUIRED", ""), attributes.get("SCENE_CENTER_TIME", ""))
    level = contents.get("PROCESSING_LEVEL", "level unknown")
    factors = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" if level.startswith("L2") else "LEVEL1_RADIOMETRIC_RESCALING", {})
    profile, found = load_profile(_SENSOR), []
    by_name = {b.name: b for b in profile.bands}
    prefix = "" if len(landsat_files(folder)) == 1 else f"{path.name.removesuffix('_MTL.txt')}_"
    for name, bands in _SCENES.items():
        numbers = {b: _NUMBERS.get(b) or int(b[1:]) for b in bands}
        there = [b for b in bands if f"FILE_NAME_BAND_{numbers[b]}" in contents]
        if not there:
            continue
        parts = tuple((Part(file_within(folder, folder, contents[f"FILE_NAME_BAND_{numbers[b]}"])),) for b in there)
        scaling = tuple(s for b in there if (s := _scaling(factors, numbers[b])) is not None)
        assembly = Assembly(parts, tuple(there), 0.0, scaling if len(scaling) == len(there) else ())
        notes = (
            f"{mission.replace('_', ' ').title()} {level}, {name}: sensor {_SENSOR}",
            "noise is estimated from the scene, which was resampled on the ground: its standard deviation may come out too small",
        )
        own = replace(profile, bands=tuple(by_name[b] for b in there))
        found.append(ProductScene(folder, prefix + name, assembly, own, notes, acquired))
    if not found:
        raise InputError(f"{path} names no band that can be restored")
    return found


def _scaling(factors: dict[str, str], number: int) -> Scaling | None:
    """Reflectance of the stored values, at level 1 not yet divided by the sine of the sun's elevation."""
    try:
        factor, term = (float(factors[f"REFLECTANCE_{k}_BAND_{number}"]) for k in ("MULT", "ADD"))
    except (KeyError, ValueError):
        return None
    return Scaling(factor, term, "reflectance") if math.isfinite(factor) and math.isfinite(term) else None
