"""Writing results: finished tiles in a hidden folder, then cloud-optimised GeoTIFFs that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises; no public name
from rasterio.errors import RasterioError
from rasterio.windows import Window

from imaging.errors import InputError, ResumeError, WorkError, one_line
from imaging.raster.georeference import copy_metadata, copy_namespaces, creation_profile, settle_gcps
from imaging.raster.scene import Scene, opening
from imaging.raster.tiles import Tile

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

Arrays = dict[str, NDArray[Any]]
_SIDECARS = (".aux.xml", ".ovr", ".msk")
_RUN, _LOCK = "run.json", "lock"


def _exclusive(descriptor: int) -> bool:
    """Lock an open file; False where another process has it. Without locks on a system all runs count as alone."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}:
            raise
    return True


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a full or read-only disk raises into one sentence."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:  # before OSError, which RasterioIOError is without an errno
        reason = one_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise InputError(f"writing to {folder} failed, its disk may be full ({reason})") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise InputError(f"the disk of {folder} is full; free some space or choose another --output") from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EINVAL}:
            raise InputError(f"the output folder {folder} cannot be written to ({error.strerror})") from error
        raise


def partial_folder(output: Path) -> Path:
    """Hidden folder in which an output comes into being."""
    return output.parent / f".{output.name}.partial"


def _sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before anything that rests on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:  # file systems that know no such thing for folders
            raise
    finally:
        os.close(descriptor)


@dataclass
class TileStore:
    """Finished tiles of one run, one file each, written atomically, and the place where outputs are assembled.

    Parameters
    ----------
    target : Path
        The output whose run this is; the folder is ``.<name>.partial`` beside it.
    fingerprint : dict
        What must be equal for a run to be continued.
    outputs : tuple of Path
        All outputs. Those in another folder, perhaps on another disk, are assembled in a hidden folder of their own beside their place.
    """

    target: Path
    fingerprint: dict[str, Any]
    outputs: tuple[Path, ...] = ()
    folder: Path = field(init=False)
    _lock: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = self.beside(self.target)

    def beside(self, output: Path) -> Path:
        """Hidden folder on the disk of an output."""
        return partial_folder(self.target if output.parent == self.target.parent else output)

    @property
    def _folders(self) -> list[Path]:
        return list(dict.fromkeys([self.folder, *map(self.beside, self.outputs)]))

    @property
    def _text(self) -> str:
        return json.dumps(self.fingerprint, sort_keys=True)

    def join(self) -> None:
        """Refuse to work on a run that is not under way, or was begun with other settings or another input.

        Raises
        ------
        ResumeError
            With the reason.
        """
        run = self.folder / _RUN
        if not run.exists():
            raise ResumeError(f"no run of {self.target} is under way")
        if run.read_text() != self._text:
            raise ResumeError(f"{self.target} was begun with other settings or another input; run without --resume to start afresh")

    def open(self, *, resume: bool) -> None:
        """Start afresh, or take over the finished tiles of an interrupted run with the same settings.

        Raises
        ------
        InputError
            When another process works on the same output, or the folder cannot be written to.
        """
        run = self.folder / _RUN
        new = not self.folder.exists()
        with disk_errors(self.target.parent):
            self._acquire()
            try:
                if resume and run.exists():
                    self.join()
                else:
                    self._clear()
            except BaseException:
                self._release(remove=new)
                raise
        begun = run.exists()
        try:
            for folder in self._folders:
                with disk_errors(folder.parent):
                    folder.mkdir(exist_ok=True)
            if not begun:
                with disk_errors(self.target.parent):
                    self._write(_RUN, lambda p: p.write_text(self._text))
        except BaseException:
            if not begun:
                self.discard()
            raise

    def _acquire(self) -> None:
        """Lock the folder against other runs; the lock goes with the process, however that ends."""
        while self._lock is None:
            self.folder.mkdir(exist_ok=True)
            path = self.folder / _LOCK
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # the run that held it has just cleared its folder
                continue
            try:
                locked = _exclusive(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if not locked:
                os.close(descriptor)
                raise InputError(f"another run is restoring to {self.target}; wait for it or choose another --output")
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    self._lock = descriptor
                    return
            os.close(descriptor)

    def _release(self, *, remove: bool) -> None:
        if remove:
            (self.folder / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        """Let others work on the run; its finished tiles stay."""
        self._release(remove=False)

    def _write(self, name: str, write: Any) -> None:
        temporary = self.folder / f"{name}.{uuid.uuid4().hex}.tmp"  # of its own: workers of one run may fit one tile
        write(temporary)
        _sync(temporary)
        temporary.replace(self.folder / name)

    def _path(self, tile: Tile) -> Path:
        return self.folder / f"{tile.index}.npz"

    def has(self, tile: Tile) -> bool:
        """Whether a tile is finished."""
        return self._path(tile).exists()

    def put(self, tile: Tile, arrays: Arrays) -> None:
        """Keep a finished tile's arrays, ``(bands, height, width)`` each."""
        packed = io.BytesIO()  # in memory first: a zip file whose disk is full complains again when it is collected
        np.savez(packed, **arrays)  # type: ignore[arg-type]

        def write(path: Path) -> None:
            path.write_bytes(packed.getbuffer())

        if self._lock is None:
            self.join()  # of another process: its run may have ended or been begun anew
        with disk_errors(self.target.parent):
            self._write(self._path(tile).name, write)

    def get(self, tile: Tile, name: str) -> NDArray[Any]:
        """One array of a finished tile."""
        with np.load(self._path(tile), allow_pickle=False) as stored:
            return np.asarray(stored[name])

    def discard(self) -> None:
        """Remove the hidden folders, what says that there is a run last: it can be cut off at any moment and done again."""
        self._clear()
        self._release(remove=True)

    def _clear(self) -> None:
        for folder in self._folders:
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)
        kept = [self.folder / name for name in (_RUN, _LOCK)]
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if path not in kept:
                    path.unlink(missing_ok=True)
        kept[0].unlink(missing_ok=True)


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
    """Assemble finished tiles into a COG in a hidden folder, ready to be moved to its place; returns its path."""
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
            _sync(source)
            source.replace(target)
            _sync(target.parent)
            sidecar = Path(f"{source}.aux.xml")
            if sidecar.exists():
                sidecar.replace(Path(f"{target}.aux.xml"))
