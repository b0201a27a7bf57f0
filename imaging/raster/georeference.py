"""Carrying everything a scene's file says about itself over to another file."""

from __future__ import annotations

import mmap
from copy import copy
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import rasterio
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from imaging.raster.scene import Scene

_NOT_COPIED = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "COLOR_PROFILE", "TIFF"}
_MASKING = "NODATA_VALUES"
"""A tag by which GDAL masks pixels; the outputs have the mask itself."""
_OF_GRID = {"AREA_OR_POINT", "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION", "TIFFTAG_RESOLUTIONUNIT"}
_SPACES_OF_GRID = {"GEOLOCATION"}
"""Tags, and namespaces of tags, that tell of the grid: they come with the georeference."""
_RESERVED = "IMAGING_RESERVED"


def creation_profile(scene: Scene) -> dict[str, Any]:
    """Size and georeference for `rasterio.open` of an output of the same grid: of `Scene.ground`, finer for a `Magnified` scene.

    Geotransforms and ground control points count from the corner of the first pixel, which stays; rational polynomial coefficients count
    from its centre, which moves: ``OFF' = f (OFF + 1/2) - 1/2``, ``SCALE' = f SCALE``.
    """
    source, factor = scene.ground, scene.factor
    profile: dict[str, Any] = {"width": scene.width, "height": scene.height}
    gcps, gcp_crs = source.gcps
    if gcps:
        finer = [GroundControlPoint(factor * p.row, factor * p.col, p.x, p.y, p.z, p.id, p.info) for p in gcps]
        profile |= {"gcps": gcps if factor == 1 else finer, "crs": gcp_crs or CRS()}  # an empty one: rasterio fails on None
    elif not source.transform.is_identity or source.crs is not None:
        profile |= {"crs": source.crs}
        if not source.transform.is_identity:
            a, b, c, d, e, f = source.transform[:6]
            profile |= {"transform": Affine(a / factor, b / factor, c, d / factor, e / factor, f)}
    if source.rpcs:
        profile |= {"rpcs": source.rpcs if factor == 1 else _finer(source.rpcs, factor)}
    return profile


def _finer(rpcs: RPC, factor: int) -> RPC:
    found = copy(rpcs)
    for axis in ("line", "samp"):
        setattr(found, f"{axis}_off", factor * (getattr(rpcs, f"{axis}_off") + 0.5) - 0.5)
        setattr(found, f"{axis}_scale", factor * getattr(rpcs, f"{axis}_scale"))
    return found


def settle_gcps(path: Path, wanted: list[GroundControlPoint]) -> None:
    """Put a new file's ground control points right where GDAL moved them.

    With ``AREA_OR_POINT=Point`` it writes those of a new file (not of a copy) off by a pixel; what they are off by is taken off in advance.
    """
    with rasterio.open(path) as written:
        found, crs = written.gcps
    if [(p.row, p.col) for p in found] == [(p.row, p.col) for p in wanted]:
        return
    moved = [GroundControlPoint(2 * w.row - f.row, 2 * w.col - f.col, w.x, w.y, w.z) for w, f in zip(wanted, found, strict=True)]
    with rasterio.open(path, "r+") as target:
        target.gcps = moved, crs or CRS()


def copy_metadata(scene: Scene, target: Any, bands: tuple[int, ...], *, values: bool = True) -> None:
    """Copy tags, descriptions, colour interpretation, scale, offset and unit of the scene's bands, in the order of the target's.

    The target is a rasterio dataset, open for writing, with its georeference already set; tags that belong to that are those of
    `Scene.ground`. Without ``values`` it holds another quantity, to which offset, unit and colour interpretation do not apply.
    """
    source = scene.source
    tags = {k: v for k, v in source.tags().items() if k not in _OF_GRID} | {k: v for k, v in scene.ground.tags().items() if k in _OF_GRID}
    target.update_tags(**{k: v for k, v in tags.items() if k != _MASKING})
    items = _namespaced_items(scene, bands)
    if items:
        target.update_tags(**{_RESERVED: "x" * len(items)})
    for out, band in enumerate(bands, start=1):
        tags = {k: v for k, v in source.tags(band).items() if not k.startswith("STATISTICS_")}
        if tags:
            target.update_tags(out, **tags)
        if source.descriptions[band - 1]:
            target.set_band_description(out, source.descriptions[band - 1])
        if values and source.units[band - 1]:
            target.set_band_unit(out, source.units[band - 1])
    target.scales = [source.scales[b - 1] for b in bands]
    if values:
        target.offsets = [source.offsets[b - 1] for b in bands]
        target.colorinterp = [source.colorinterp[b - 1] for b in bands]
    else:
        target.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(bands) - 1)


def _namespaced_items(scene: Scene, bands: tuple[int, ...]) -> bytes:
    """The tags in namespaces of their own, of the file and its bands, as GDAL writes them into a TIFF; values are escaped twice there."""
    items = []
    for sample, band in enumerate((0, *bands), start=-1):
        place = f' sample="{sample}"' if band else ""
        told = [(scene.source, space) for space in scene.source.tag_namespaces(band) if space not in _SPACES_OF_GRID]
        if not band:
            told += [(scene.ground, space) for space in scene.ground.tag_namespaces() if space in _SPACES_OF_GRID]
        for source, space in told:
            if space and not space.startswith("xml:") and space not in _NOT_COPIED:
                tags = source.tags(band, ns=space).items()
                items += [f"<Item name={quoteattr(k)}{place} domain={quoteattr(space)}>{escape(escape(v))}</Item>" for k, v in tags]
    return "".join(items).encode()


def copy_namespaces(scene: Scene, path: Path, bands: tuple[int, ...]) -> None:
    """Put tags in namespaces where `copy_metadata` kept room for them, after the file has become a COG.

    GDAL's COG driver takes over the unnamed namespace only (with ``COPY_SRC_MDD=YES`` others too, but then it forgets the bands' tags), and
    changing tags through GDAL afterwards breaks the layout.
    """
    items = _namespaced_items(scene, bands)
    if not items:
        return
    room = f'<Item name="{_RESERVED}">{"x" * len(items)}</Item>'.encode()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        at = content.find(room)
        content[at : at + len(room)] = items.ljust(len(room))
