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
class Product:
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


def write_product(scene: Scene, product: Product, tiles: list[Tile], store: TileStore) -> Path:
    """Assemble finished tiles into a COG with statistics in a hidden folder, ready to be moved to its place; returns its path."""
    plain, cog = (store.beside(product.path) / f"{product.array}.{kind}.tif" for kind in ("plain", "cog"))
    profile = creation_profile(scene) | {
        "driver": "GTiff", "dtype": product.dtype, "count": len(product.bands) + len(product.passed), "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, "bigtiff": "IF_SAFER", "interleave": "band",
        "nodata": product.nodata,
    }  # fmt: skip
    if product.passed:
        profile["photometric"] = "MINISBLACK"
    with disk_errors(product.path.parent), opening(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(plain, "w", **profile) as target:
            _describe(scene, product, target)
            for tile in tiles:
                _write_tile(scene, product, target, tile, store)
        if "gcps" in profile:
            settle_gcps(plain, profile["gcps"])
        record_statistics(plain, len(product.bands))
        rasterio.shutil.copy(
            plain, cog, driver="COG", compress="DEFLATE", predictor="YES", blocksize=512, overviews="AUTO",
            overview_resampling="average", bigtiff="IF_SAFER", num_threads="ALL_CPUS",
        )  # fmt: skip
        copy_namespaces(scene, cog, product.bands + product.passed)
        plain.unlink()
        Path(f"{plain}.aux.xml").unlink(missing_ok=True)
        _verify(cog, product, tiles, store)
    return cog


def _describe(scene: Scene, product: Product, target: Any) -> None:
    bands = product.bands + product.passed
    copy_metadata(scene, target, bands, values=product.same_quantity)
    target.update_tags(**product.tags)
    for i, band in enumerate(product.bands, start=1):
        if product.unit and not product.same_quantity:
            own = product.unit if scene.source.scales[band - 1] == 1 else None  # units are those of scaled values
            target.set_band_unit(i, scene.source.units[band - 1] or own)
        if product.description:
            target.set_band_description(i, f"{product.description} {scene.source.descriptions[band - 1] or f'band {band}'}".strip())


def _window(tile: Tile) -> Window:
    return Window(tile.core.column, tile.core.row, tile.core.width, tile.core.height)


def _write_tile(scene: Scene, product: Product, target: Any, tile: Tile, store: TileStore) -> None:
    core, window = tile.core, _window(tile)
    target.write(store.get(tile, product.array), indexes=list(range(1, len(product.bands) + 1)), window=window)
    if product.passed:
        first = len(product.bands) + 1
        target.write(scene.read_raw(core, product.passed), indexes=list(range(first, first + len(product.passed))), window=window)
    if scene.has_stored_mask:
        target.write_mask(scene.read_mask(core, product.bands[:1])[0], window=window)


def _verify(path: Path, product: Product, tiles: list[Tile], store: TileStore) -> None:
    """Read everything back: what a full or failing disk lost while writing may go unnoticed."""
    indexes = list(range(1, len(product.bands) + 1))
    with rasterio.open(path) as written:
        for tile in tiles:
            if not np.array_equal(written.read(indexes, window=_window(tile)), store.get(tile, product.array), equal_nan=True):
                raise WorkError(f"what was written for {product.path} differs from what was computed; is the disk full or failing?")


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
