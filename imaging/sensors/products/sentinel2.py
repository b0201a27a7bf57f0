"""Sentinel-2 products in the SAFE format, levels 1C and 2A, with the noise model of their own metadata."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from imaging.errors import InputError
from imaging.raster import Assembly, Part, Scaling
from imaging.sensors.products.metadata import Metadata, file_within, moment
from imaging.sensors.products.scene import ProductScene
from imaging.sensors.profile import Band, Noise
from imaging.sensors.reader import load_profile

_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""In the order of the metadata's band numbers, from 0."""
_SENSOR = "sentinel2"
_SCENES = {"10m": (10.0, _SENSOR), "20m": (20.0, f"{_SENSOR}-20m"), "60m": (60.0, f"{_SENSOR}-60m")}
"""Ground sample distance of each scene, metres, and the name under which its sensor is known."""
RESAMPLED = 0.73
"""Standard deviation of noise on the ground grid relative to the detector's, assumed: the middle of 0.65 to 0.81 (Gorrono)."""


def sentinel2_scenes(folder: Path, path: Path) -> list[ProductScene]:
    """The scenes of 10, 20 and 60 m, with those of their bands that have a profile.

    `InputError` when metadata or rasters are not complete, or the product has several granules.
    """
    root = Metadata(path)
    level = "2A" if "2A" in path.name else "1C"
    files = _files(folder, root)
    offsets = _offsets(root, level)
    quantum = root.number("BOA_QUANTIFICATION_VALUE" if level == "2A" else "QUANTIFICATION_VALUE", 10_000, least=1)
    nodata = next((s.number("SPECIAL_VALUE_INDEX") for s in root.all("Special_Values") if s.text("SPECIAL_VALUE_TEXT", "") == "NODATA"), 0)
    acquired = moment(root.text("PRODUCT_START_TIME", "") or root.text("DATATAKE_SENSING_START", ""))
    found = []
    for name, (gsd, sensor) in _SCENES.items():
        profile = load_profile(sensor)
        bands = [b for b in profile.bands if b.gsd == gsd and (name, b.name) in files]
        if not bands:
            continue
        first = offsets.get(bands[0].name, 0.0)
        notes = [f"{root.text('SPACECRAFT_NAME', 'Sentinel-2')} level {level}, {name}: sensor {sensor}, offset {first:g}"]
        if level == "1C":
            bands, remark = _with_own_noise(folder, root, bands, offsets, quantum)
        else:
            bands = [_moved(b, offsets.get(b.name, 0.0)) for b in bands]
            remark = "assumed: noise of surface reflectance as of level 1C at its reference radiance"
        scaling = tuple(Scaling(1 / quantum, -offsets.get(b.name, 0.0) / quantum, "reflectance") for b in bands)
        parts = tuple((Part(files[name, b.name]),) for b in bands)
        assembly = Assembly(parts, tuple(b.name for b in bands), nodata, scaling)
        found.append(ProductScene(folder, name, assembly, replace(profile, bands=tuple(bands)), (*notes, remark), acquired))
    if not found:
        raise InputError(f"{folder} holds no band of Sentinel-2 that can be restored")
    return found


def _files(folder: Path, root: Metadata) -> dict[tuple[str, str], Path]:
    """Rasters by ground sample distance and band; at level 2A a band may come at several of them."""
    found: dict[tuple[str, str], Path] = {}
    native = {b.name: name for b in load_profile(_SENSOR).bands for name, (gsd, _) in _SCENES.items() if b.gsd == gsd}
    listed = [f.content for f in root.all("IMAGE_FILE")]
    for entry in listed:
        _, _, last = entry.rpartition("/")
        tokens = last.split("_")
        band = next((t for t in tokens if t[:1] == "B" and t[1:].rstrip("A").isdigit()), "")
        band = "B" + band[1:].lstrip("0")
        size = native.get(band)
        if size is None or (tokens[-1].endswith("m") and tokens[-1] != size):
            continue
        if (size, band) in found:
            raise InputError(f"{folder} holds several granules; restore them one by one")
        found[size, band] = file_within(folder, folder, f"{entry}.jp2")
    if not listed:
        raise InputError(f"{root.path} names no IMAGE_FILE")
    return found


def _offsets(root: Metadata, level: str) -> dict[str, float]:
    """Stored value of no reflectance, from processing baseline 04.00 on 1000: ``reflectance = (DN + ADD_OFFSET) / QUANTIFICATION``."""
    numbers = root.numbers("BOA_ADD_OFFSET" if level == "2A" else "RADIO_ADD_OFFSET", "band_id")
    unknown = [k for k in numbers if k not in map(str, range(len(_BANDS)))]
    if unknown:
        raise InputError(f"{root.path}: band_id is {unknown[0]!r}; accepted: 0 to {len(_BANDS) - 1}")
    return {_BANDS[int(k)]: -v for k, v in numbers.items()}


def _moved(band: Band, offset: float) -> Band:
    return band if band.noise is None else replace(band, noise=replace(band.noise, offset=offset))


def _with_own_noise(
    folder: Path, root: Metadata, bands: list[Band], offsets: dict[str, float], quantum: float
) -> tuple[list[Band], str]:  # fmt: skip
    """Bands with the noise that the metadata give, or the profile's where they give none.

    The noise of a count CN of the detector has the variance ``alpha^2 + beta CN``, and
    ``CN = A E0 U cos(theta) / pi * reflectance`` with the physical gain A, the solar irradiance E0, the correction U for the distance of
    the sun, and its zenith angle theta, as in ESA's radiometric uncertainty tool (S2-RUT).
    """
    moved = [_moved(b, offsets.get(b.name, 0.0)) for b in bands]
    strips = sorted(folder.glob("DATASTRIP/*/MTD_DS.xml"))
    tiles = sorted(folder.glob("GRANULE/*/MTD_TL.xml"))
    models = {m.attribute("bandId"): m for s in strips[:1] for m in Metadata(s).all("Radiometric_Quality") if list(m.all("Noise_Model"))}
    gains, suns = root.numbers("PHYSICAL_GAINS", "bandId"), root.numbers("SOLAR_IRRADIANCE", "bandId")
    angles = [a.number("ZENITH_ANGLE") for t in tiles[:1] for a in Metadata(t).all("Mean_Sun_Angle")]
    keys = {b.name: str(_BANDS.index(b.name)) for b in bands}
    if not angles or not all(k in models and k in gains and k in suns for k in keys.values()):
        return moved, "the metadata hold no complete noise model; the profile's is taken"
    light = root.number("U") * math.cos(math.radians(angles[0]))
    found = []
    for band in bands:
        key = keys[band.name]
        counts = gains[key] * suns[key] * light / math.pi / quantum  # of the detector, for each DN
        if not counts > 0:
            return moved, f"the metadata give {counts:g} detector counts for a stored value of {band.name}; the profile's noise is taken"
        alpha, beta = models[key].number("ALPHA", least=0), models[key].number("BETA", least=0)
        source = f"alpha {alpha:g}, beta {beta:g} of the metadata, sun zenith {angles[0]:.1f} deg; standard deviation x {RESAMPLED} assumed"
        noise = Noise(RESAMPLED * alpha / counts, RESAMPLED**2 * beta / counts, offsets.get(band.name, 0.0), source)
        found.append(replace(band, noise=noise))
    return found, f"noise model of the metadata; assumed: resampling on the ground left {RESAMPLED} of its standard deviation"
