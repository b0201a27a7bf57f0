"""DIMAP products: Pleiades, Pleiades Neo, SPOT 6 and 7 (version 2), and Pleiades' inventory format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from imaging.errors import InputError
from imaging.raster import Assembly, Part, Scaling, open_part
from imaging.sensors.products.metadata import Metadata, file_within, moment
from imaging.sensors.products.scene import ProductScene
from imaging.sensors.profile import SensorProfile
from imaging.sensors.reader import load_profile

_PROFILES = {"PHR": "pleiades", "PNEO": "pleiades-neo", "SPOT6": "spot6", "SPOT7": "spot6"}
_PAN = {"P", "PA", "PAN"}
_COUNTS = {"BASIC", "RAW"}
"""Radiometric processing whose values are the detector's counts."""


def dimap_scene(folder: Path, path: Path) -> ProductScene:
    """The scene that a metadata file of a product describes; `InputError` when the metadata or the rasters are not complete."""
    root = Metadata(path)
    pan = root.text("SPECTRAL_PROCESSING", "") in _PAN
    notes: list[str] = []
    bands, names = _parts(root, folder, notes)
    profile = _profile(root, names, notes)
    scaling = _scaling(root, names)
    name = "PAN" if pan else root.text("SPECTRAL_PROCESSING", "MS")
    saturated = _special(root, "SATURATED")
    if saturated is not None:
        notes.append(f"pixels of the value {saturated:g} are saturated: taken as measured, though the ground was brighter")
    dimensions = next(root.all("Raster_Dimensions"), root)
    shape = int(dimensions.number("NROWS", 0, least=0)), int(dimensions.number("NCOLS", 0, least=0))
    assembly = Assembly(bands, names, _special(root, "NODATA"), scaling, shape)
    linear = root.text("RADIOMETRIC_PROCESSING", "BASIC") in {*_COUNTS, "REFLECTANCE"}
    return ProductScene(folder, name, assembly, profile, tuple(notes), _acquired(root), linear)


def _acquired(root: Metadata) -> str | None:
    """When the first strip was acquired, or the middle of the image."""
    return moment(root.text("IMAGING_DATE", ""), root.text("IMAGING_TIME", "")) or next(
        (moment(p.text("TIME", "")) for p in root.all("Located_Geometric_Values")), None
    )


def _special(root: Metadata, meaning: str) -> float | None:
    """Stored value that has a special meaning; the older format names it otherwise, and in the newer one COUNT is the value."""
    for kind, value in (("Special_Value", "SPECIAL_VALUE_COUNT"), ("Special_Values", "SPECIAL_VALUE_INDEX")):
        for special in root.all(kind):
            if special.text("SPECIAL_VALUE_TEXT", "") == meaning:
                return special.number(value)
    return None


def _band_name(identifier: str) -> str:
    return "PAN" if identifier in _PAN else identifier


def _parts(root: Metadata, folder: Path, notes: list[str]) -> tuple[tuple[tuple[Part, ...], ...], tuple[str, ...]]:
    """Parts and names of the bands; Pleiades Neo keeps them in two groups of files, and may number them through both."""
    # The list of calibrations names the bands in the order of the file, as does the older format's.
    calibrated = [*(b.text("BAND_ID") for b in root.all("Band_Radiance")), *(b.text("BAND_ID") for b in root.all("Spectral_Band_Info"))]
    size = _tile_size(root)
    bands: list[tuple[Part, ...]] = []
    names: list[str] = []
    groups = list(root.all("Data_Files")) or list(root.all("Data_Access"))
    for group in groups:
        files = [_file(f, folder, size) for f in group.all("Data_File")]
        if not files:
            raise InputError(f"{root.path} names no raster files")
        with open_part(files[0].path) as source:
            count = int(source.count)
        listed = {int(i.number("BAND_INDEX")): i.text("BAND_ID") for i in group.all("Raster_Index")}
        if len(listed) != count and not (len(groups) == 1 and len(calibrated) == count):
            raise InputError(f"{root.path} does not tell which {count} bands {files[0].path.name} holds")
        inside = [listed[k] for k in sorted(listed)] if len(listed) == count else calibrated
        if sorted(listed) != list(range(1, count + 1)) and len(listed) == count:
            inside = list(listed.values())  # numbered through several files: the order of the list holds
        elif not listed and count > 1:
            notes.append(f"bands of {files[0].path.name} taken in the order of their calibrations: {', '.join(inside)}")
        bands += [tuple(replace(f, band=k) for f in files) for k in range(1, count + 1)]
        names += [_band_name(i) for i in inside]
    if len(set(names)) < len(names):
        raise InputError(f"{root.path} names the bands {', '.join(names)}, one of them twice")
    return tuple(bands), tuple(names)


def _file(file: Metadata, folder: Path, size: tuple[int, int]) -> Part:
    """One file and its place; its row and column among the tiles stand in the metadata or in its name."""
    href = next((p.attribute("href") or p.content for p in file.all("DATA_FILE_PATH")), "")
    if not href:
        raise InputError(f"{file.path} has a Data_File without DATA_FILE_PATH")
    named = re.search(r"_R(\d+)C(\d+)\.\w+$", href)
    row, column = (file.whole(k, int(named[n]) if named else 1) - 1 for n, k in enumerate(("tile_R", "tile_C"), start=1))
    if (row or column) and not all(size):
        raise InputError(f"{file.path} names tiles but not their size (NTILES_SIZE)")
    return Part(file_within(folder, file.path.parent, href), 1, row * size[0], column * size[1])


def _tile_size(root: Metadata) -> tuple[int, int]:
    """Rows and columns of a tile, (0, 0) where there is none."""
    for overlap in root.all("NTILES_OVERLAP"):
        if any(overlap.whole(k, 0) for k in ("nrows", "ncols")):
            raise InputError(f"{root.path} has tiles that overlap, which are not read; restore them one by one")
    tile = next(root.all("NTILES_SIZE"), None)
    return (tile.whole("nrows", 0), tile.whole("ncols", 0)) if tile else (0, 0)


def _scaling(root: Metadata, names: tuple[str, ...]) -> tuple[Scaling, ...]:
    """Radiance of the stored values, ``L = DN / GAIN + BIAS``, where all bands have a gain."""
    found: dict[str, Scaling] = {}
    for kind, gain, bias in (("Band_Radiance", "GAIN", "BIAS"), ("Spectral_Band_Info", "PHYSICAL_GAIN", "PHYSICAL_BIAS")):
        for band in root.all(kind):
            value = band.number(gain, 0.0)
            if value > 0:
                found.setdefault(_band_name(band.text("BAND_ID")), Scaling(1 / value, band.number(bias, 0.0), "W/m2/sr/um"))
    if root.text("RADIOMETRIC_PROCESSING", "BASIC") not in _COUNTS or any(n not in found for n in names):
        return ()
    return tuple(found[n] for n in names)


def _profile(root: Metadata, names: tuple[str, ...], notes: list[str]) -> SensorProfile | None:
    """The mission's profile with the bands of the files."""
    mission = root.text("MISSION", root.text("PLATFORM_NAME", "")).upper()
    index = root.text("MISSION_INDEX", root.text("PLATFORM_SERIAL_NUMBER", ""))
    known = _PROFILES.get(mission) or _PROFILES.get(mission + index)
    if known is None:
        notes.append(f"no sensor profile for the mission {mission or 'of this product'}")
        return None
    restored = root.text("PAN_RESTORATION" if names == ("PAN",) else "MS_RESTORATION", "").lower()
    if known == "pleiades" and restored == "false":
        known = "pleiades-raw"
        notes.append("the product was not restored on the ground: the instrument's own MTF is taken")
    profile = load_profile(known)
    by_name = {b.name: b for b in profile.bands}
    missing = [n for n in names if n not in by_name]
    if missing:
        notes.append(f"sensor {known} has no band {missing[0]}, which {root.path.name} names; it has {', '.join(by_name)}")
        return None
    bands = tuple(by_name[n] for n in names)
    if root.text("SPECTRAL_PROCESSING", "").startswith("PMS"):
        notes.append("assumed: pansharpened bands have sharpness and noise of the panchromatic band")
        bands = tuple(replace(by_name["PAN"], name=b.name, common_name=b.common_name) for b in bands)
    radiometry = root.text("RADIOMETRIC_PROCESSING", "BASIC")
    if radiometry not in _COUNTS:
        notes.append(f"radiometric processing {radiometry}: the sensor's noise does not apply, it is estimated from the scene")
        bands = tuple(replace(b, noise=None) for b in bands)
        profile = replace(profile, bits=int(root.number("NBITS", 16)) if radiometry == "REFLECTANCE" else profile.bits)
    notes.insert(
        0, f"{mission} {index} {root.text('SPECTRAL_PROCESSING', '')}, level {root.text('PROCESSING_LEVEL', 'unknown')}: sensor {known}"
    )
    return replace(profile, bands=bands)
