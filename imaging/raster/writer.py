"""Writing results: finished tiles become cloud-optimised GeoTIFFs that appear whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.windows import Window

from imaging.errors import WorkError
from imaging.raster.georeference import copy_metadata, copy_namespaces, creation_profile, settle_gcps
from imaging.raster.opening import opening
from imaging.raster.scene import Scene
from imaging.raster.store import TileStore, disk_errors, sync
from imaging.raster.style import style_of
from imaging.raster.summary import record_statistics
from imaging.raster.tiles import Tile

_SIDECARS = (".aux.xml", ".ovr", ".msk")


@dataclass(frozen=True)
class Output:
    """One output raster.

    Attributes
    ----------
    path : Path
        Final place.
    array : str
        Name of the tiles' array.
    bands : tuple of int
        The scene's bands it restores or describes.
    passed : tuple of int
        Further bands copied from the scene unchanged (alpha).
    dtype : str
        Stored type.
    nodata : float or None
        Nodata value.
    same_quantity : bool
        Whether it holds the scene's quantity.
    tags : dict
        Tags to add.
    unit : str or None
        Unit of the bands, where the scene names none and does not scale its values.
    description : str or None
        Put before each band's description.
    """

    path: Path
    array: str
    bands: tuple[int, ...]
    passed: tuple[int, ...]
    dtype: str
    nodata: float | None
    same_quantity: bool
    tags: dict[str, str]
    unit: str | None = None
    description: str | None = None


def write_output(scene: Scene, output: Output, tiles: list[Tile], store: TileStore) -> Path:
    """Assemble finished tiles into a COG with statistics in a hidden folder, ready to be moved to its place; returns its path."""
    plain, cog = (store.beside(output.path) / f"{output.array}.{kind}.tif" for kind in ("plain", "cog"))
    profile = creation_profile(scene) | {
        "driver": "GTiff", "dtype": output.dtype, "count": len(output.bands) + len(output.passed), "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, "bigtiff": "IF_SAFER", "interleave": "band",
        "nodata": output.nodata,
    }  # fmt: skip
    if output.passed:
        profile["photometric"] = "MINISBLACK"
    with disk_errors(output.path.parent), opening(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(plain, "w", **profile) as target:
            _describe(scene, output, target)
            for tile in tiles:
                _write_tile(scene, output, target, tile, store)
        if "gcps" in profile:
            settle_gcps(plain, profile["gcps"])
        record_statistics(plain, len(output.bands))
        rasterio.shutil.copy(
            plain, cog, driver="COG", compress="DEFLATE", predictor="YES", blocksize=512, overviews="AUTO",
            overview_resampling="average", bigtiff="IF_SAFER", num_threads="ALL_CPUS",
        )  # fmt: skip
        copy_namespaces(scene, cog, output.bands + output.passed)
        plain.unlink()
        Path(f"{plain}.aux.xml").unlink(missing_ok=True)
        _verify(cog, output, tiles, store)
    return cog


def _describe(scene: Scene, output: Output, target: Any) -> None:
    bands = output.bands + output.passed
    copy_metadata(scene, target, bands, values=output.same_quantity)
    target.update_tags(**output.tags)
    for i, band in enumerate(output.bands, start=1):
        if output.unit and not output.same_quantity:
            own = output.unit if scene.source.scales[band - 1] == 1 else None  # units are those of scaled values
            target.set_band_unit(i, scene.source.units[band - 1] or own)
        if output.description:
            target.set_band_description(i, f"{output.description} {scene.source.descriptions[band - 1] or f'band {band}'}".strip())


def _window(tile: Tile) -> Window:
    return Window(tile.core.column, tile.core.row, tile.core.width, tile.core.height)


def _write_tile(scene: Scene, output: Output, target: Any, tile: Tile, store: TileStore) -> None:
    core, window = tile.core, _window(tile)
    target.write(store.get(tile, output.array), indexes=list(range(1, len(output.bands) + 1)), window=window)
    if output.passed:
        first = len(output.bands) + 1
        target.write(scene.read_raw(core, output.passed), indexes=list(range(first, first + len(output.passed))), window=window)
    if scene.has_stored_mask:
        target.write_mask(scene.read_mask(core, output.bands[:1])[0], window=window)


def _verify(path: Path, output: Output, tiles: list[Tile], store: TileStore) -> None:
    """Read everything back: what a full or failing disk lost while writing may go unnoticed."""
    indexes = list(range(1, len(output.bands) + 1))
    with rasterio.open(path) as written:
        for tile in tiles:
            if not np.array_equal(written.read(indexes, window=_window(tile)), store.get(tile, output.array), equal_nan=True):
                raise WorkError(f"what was written for {output.path} differs from what was computed; is the disk full or failing?")


def write_style(raster: Path) -> Path:
    """Write QGIS' style of a raster beside it in the hidden folder, ready to be moved with it; returns its path."""
    path = raster.with_suffix(".qml")
    with disk_errors(raster.parent.parent):
        path.write_text(style_of(raster), encoding="utf-8")
    return path


def has_tag(path: Path, name: str) -> bool:
    """Whether a file is a raster with a tag."""
    try:
        with opening(), rasterio.open(path) as source:
            return name in source.tags()
    except RasterioError:
        return False


def publish(moves: list[tuple[Path, Path]]) -> None:
    """Move finished files to their places, the last one being the sign that all are there.

    What lay beside a replaced raster (statistics, overviews, an external mask) goes, for it describes the old pixels.
    """
    for source, target in moves:
        with disk_errors(target.parent):
            for suffix in _SIDECARS:
                Path(f"{target}{suffix}").unlink(missing_ok=True)
            sync(source)
            source.replace(target)
            sync(target.parent)
            sidecar = Path(f"{source}.aux.xml")
            if sidecar.exists():
                sidecar.replace(Path(f"{target}.aux.xml"))
