"""Writing results: finished tiles in a hidden folder, then cloud-optimised GeoTIFFs that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from imaging.errors import InputError, WorkError
from imaging.raster.georeference import copy_metadata, creation_profile
from imaging.raster.scene import Scene, gdal
from imaging.raster.tiles import Tile

Arrays = dict[str, NDArray[Any]]


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a full or read-only disk raises into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise InputError(f"the disk of {folder} is full; free some space or choose another --output") from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EINVAL}:
            raise InputError(f"the output folder {folder} cannot be written to ({error.strerror})") from error
        raise
    except RasterioError as error:
        raise InputError(f"writing to {folder} failed, its disk may be full ({str(error).splitlines()[0]})") from error


@dataclass
class TileStore:
    """Finished tiles of one run, one file each, written atomically.

    Parameters
    ----------
    target : Path
        The output whose run this is; the folder is ``.<name>.partial`` beside it.
    fingerprint : dict
        What must be equal for a run to be continued.
    """

    target: Path
    fingerprint: dict[str, Any]
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.target.parent / f".{self.target.name}.partial"

    def open(self, *, resume: bool) -> None:
        """Start afresh, or take over the finished tiles of an interrupted run with the same settings."""
        text = json.dumps(self.fingerprint, sort_keys=True)
        with disk_errors(self.target.parent):
            if resume and (self.folder / "run.json").exists():
                if (self.folder / "run.json").read_text() != text:
                    raise InputError(f"{self.target} was begun with other settings or another input; run without --resume to start afresh")
                return
            self.discard()
            self.folder.mkdir()
            self._write("run.json", lambda p: p.write_text(text))

    def _write(self, name: str, write: Any) -> None:
        temporary = self.folder / f"{name}.tmp"
        write(temporary)
        temporary.replace(self.folder / name)

    def _path(self, tile: Tile) -> Path:
        return self.folder / f"{tile.index}.npz"

    def has(self, tile: Tile) -> bool:
        """Whether a tile is finished."""
        return self._path(tile).exists()

    def put(self, tile: Tile, arrays: Arrays) -> None:
        """Keep a finished tile's arrays, ``(bands, height, width)`` each."""

        def write(path: Path) -> None:
            with path.open("wb") as handle:
                np.savez(handle, **arrays)  # type: ignore[arg-type]
                handle.flush()
                os.fsync(handle.fileno())

        with disk_errors(self.target.parent):
            self._write(self._path(tile).name, write)

    def get(self, tile: Tile, name: str) -> NDArray[Any]:
        """One array of a finished tile."""
        with np.load(self._path(tile), allow_pickle=False) as stored:
            return np.asarray(stored[name])

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


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
        Unit of the bands, where it is not the scene's own.
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
    """Assemble finished tiles into a COG inside the store's folder, ready to be moved to its place; returns its path."""
    plain, cog = (store.folder / f"{product.array}.{kind}.tif" for kind in ("plain", "cog"))
    profile = creation_profile(scene) | {
        "driver": "GTiff", "dtype": product.dtype, "count": len(product.bands) + len(product.passed), "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, "bigtiff": "IF_SAFER", "interleave": "band",
        "nodata": product.nodata,
    }  # fmt: skip
    if product.passed:
        profile["photometric"] = "MINISBLACK"
    with disk_errors(product.path.parent), gdal(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(plain, "w", **profile) as target:
            _describe(scene, product, target)
            for tile in tiles:
                _write_tile(scene, product, target, tile, store)
        predictor = "YES"
        rasterio.shutil.copy(
            plain, cog, driver="COG", compress="DEFLATE", predictor=predictor, blocksize=512, overviews="AUTO",
            overview_resampling="average", bigtiff="IF_SAFER", num_threads="ALL_CPUS",
        )  # fmt: skip
        plain.unlink()
        Path(f"{plain}.aux.xml").unlink(missing_ok=True)
        _verify(cog, profile)
    return cog


def _describe(scene: Scene, product: Product, target: Any) -> None:
    bands = product.bands + product.passed
    copy_metadata(scene, target, bands, values=product.same_quantity)
    target.update_tags(**product.tags)
    for i, band in enumerate(product.bands, start=1):
        if product.unit and not product.same_quantity:
            target.set_band_unit(i, scene.source.units[band - 1] or product.unit)
        if product.description:
            target.set_band_description(i, f"{product.description} {scene.source.descriptions[band - 1] or f'band {band}'}".strip())


def _write_tile(scene: Scene, product: Product, target: Any, tile: Tile, store: TileStore) -> None:
    core = tile.core
    window = Window(core.column, core.row, core.width, core.height)
    target.write(store.get(tile, product.array), indexes=list(range(1, len(product.bands) + 1)), window=window)
    if product.passed:
        first = len(product.bands) + 1
        target.write(scene.read_raw(core, product.passed), indexes=list(range(first, first + len(product.passed))), window=window)
    if scene.has_stored_mask:
        target.write_mask(scene.read_mask(core, product.bands[:1])[0], window=window)


def _verify(path: Path, profile: dict[str, Any]) -> None:
    """Read the last block of each band back: a full disk may go unnoticed while writing."""
    with rasterio.open(path) as written:
        if (written.width, written.height, written.count) != (profile["width"], profile["height"], profile["count"]):
            raise WorkError(f"the file written for {path} is incomplete")
        written.read(window=Window(written.width - 1, written.height - 1, 1, 1))


def publish(moves: list[tuple[Path, Path]]) -> None:
    """Move finished files to their places, the last one being the sign that all are there."""
    for source, target in moves:
        with disk_errors(target.parent):
            source.replace(target)
            sidecar = Path(f"{source}.aux.xml")
            if sidecar.exists():
                sidecar.replace(Path(f"{target}.aux.xml"))
