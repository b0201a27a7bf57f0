"""Carrying everything a scene's file says about itself over to another file."""

from __future__ import annotations

from typing import Any

from rasterio.enums import ColorInterp

from imaging.raster.scene import Scene

_NOT_COPIED = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC", "COLOR_PROFILE", "TIFF"}
_PER_FILE = ("AREA_OR_POINT",)


def creation_profile(scene: Scene) -> dict[str, Any]:
    """Size and georeference for `rasterio.open` of an output of the same grid."""
    source = scene.source
    profile: dict[str, Any] = {"width": scene.width, "height": scene.height}
    gcps, gcp_crs = source.gcps
    if gcps:
        profile |= {"gcps": gcps, "crs": gcp_crs}
    elif not source.transform.is_identity or source.crs is not None:
        profile |= {"crs": source.crs}
        if not source.transform.is_identity:
            profile |= {"transform": source.transform}
    if source.rpcs:
        profile |= {"rpcs": source.rpcs}
    return profile


def copy_metadata(scene: Scene, target: Any, bands: tuple[int, ...], *, values: bool = True) -> None:
    """Copy tags, band descriptions, colour interpretation, scale, offset and unit.

    Parameters
    ----------
    scene : Scene
        Where from.
    target : rasterio dataset
        Open for writing, georeference already set.
    bands : tuple of int
        The scene's bands in the order of the target's.
    values : bool
        Whether the target holds the same quantity, so that scale, offset, unit and colour interpretation apply.
    """
    source = scene.source
    target.update_tags(**source.tags())
    for space in source.tag_namespaces():
        if space and not space.startswith("xml:") and space not in _NOT_COPIED:
            target.update_tags(ns=space, **source.tags(ns=space))
    for out, band in enumerate(bands, start=1):
        tags = {k: v for k, v in source.tags(band).items() if not k.startswith("STATISTICS_")}
        if tags:
            target.update_tags(out, **tags)
        if source.descriptions[band - 1]:
            target.set_band_description(out, source.descriptions[band - 1])
        if values and source.units[band - 1]:
            target.set_band_unit(out, source.units[band - 1])
    if values:
        target.scales = [source.scales[b - 1] for b in bands]
        target.offsets = [source.offsets[b - 1] for b in bands]
        target.colorinterp = [source.colorinterp[b - 1] for b in bands]
    else:
        target.scales = [source.scales[b - 1] for b in bands]
        target.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(bands) - 1)
