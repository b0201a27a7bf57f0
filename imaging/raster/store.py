"""Finished tiles of a run: a hidden folder beside the output, one run at a time, nothing half-written."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio  # noqa: F401  # before its parts, see scene.py
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises; no public name
from rasterio.errors import RasterioError

from imaging.errors import InputError, ResumeError, one_line
from imaging.raster.hidden import partial_folder, temporary
from imaging.raster.tiles import Tile

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

Arrays = dict[str, NDArray[Any]]
_RUN, _LOCK, _TEMPORARY = "run.json", "lock", re.compile(r"\.[0-9a-f]{32}\.tmp")


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
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL}:
            raise InputError(f"the output folder {folder} cannot be written to ({error.strerror})") from error
        raise


def sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before anything that rests on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:  # file systems that know no such thing for folders
            raise
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes, folder: Path | None = None) -> None:
    """Write a file that appears whole or not at all, in place of one that is there.

    Raises
    ------
    InputError
        When the disk is full or the folder, or the one to name in its place, cannot be written to; what was there stays.
    """
    attempt = temporary(path)
    with disk_errors(folder or path.parent):
        try:
            attempt.write_bytes(data)
            sync(attempt)
            attempt.replace(path)
            sync(path.parent)
        finally:
            attempt.unlink(missing_ok=True)


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

    def _check_own(self) -> None:
        """Refuse, by `InputError`, hidden folders that no run made, of which nothing is touched.

        Such is a link, a file, or a folder that holds something but no record of a run.
        """
        for folder in filter(os.path.lexists, self._folders):
            own = not folder.is_symlink() and folder.is_dir()
            names = {p.name for p in folder.iterdir()} if own else set()
            if not own or not (_RUN in names or all(n == _LOCK or _TEMPORARY.fullmatch(n) for n in names)):
                raise InputError(f"{folder} is no folder of a run; move it away, or choose another --output")

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
        with disk_errors(self.target.parent):
            self._check_own()
            new = not self.folder.exists()
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
                    if folder != self.folder:
                        (folder / _RUN).write_text("{}")  # says whose it is
            if not begun:
                write_whole(run, self._text.encode(), self.target.parent)
        except BaseException:
            if not begun:
                self.discard()
            raise

    @contextmanager
    def running(self, *, resume: bool) -> Iterator[None]:
        """A run from `open` to its end; the finished tiles of one that is interrupted stay, nothing of one that is done or has failed."""
        self.open(resume=resume)
        try:
            yield
        except Exception:
            self.discard()
            raise
        except BaseException:
            self.close()
            raise
        self.discard()

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

    def _path(self, tile: Tile) -> Path:
        return self.folder / f"{tile.index}.npz"

    def has(self, tile: Tile) -> bool:
        """Whether a tile is finished."""
        return self._path(tile).exists()

    def put(self, tile: Tile, arrays: Arrays) -> None:
        """Keep a finished tile's arrays, ``(bands, height, width)`` each."""
        packed = io.BytesIO()  # in memory first: a zip file whose disk is full complains again when it is collected
        np.savez(packed, **arrays)  # type: ignore[arg-type]
        if self._lock is None:
            self.join()  # of another process: its run may have ended or been begun anew
        write_whole(self._path(tile), packed.getvalue(), self.target.parent)

    def get(self, tile: Tile, name: str) -> NDArray[Any]:
        """One array of a finished tile."""
        with np.load(self._path(tile), allow_pickle=False) as stored:
            return np.asarray(stored[name])

    def discard(self) -> None:
        """Remove the hidden folders, the record of the run last, so that a removal that is cut off can be done again."""
        self._clear()
        self._release(remove=True)

    def _clear(self) -> None:
        for folder in self._folders:
            if folder != self.folder and not folder.is_symlink():
                with suppress(OSError):
                    for path in folder.iterdir():
                        if path.name != _RUN:
                            path.unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
        kept = [self.folder / name for name in (_RUN, _LOCK)]
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if path not in kept:
                    path.unlink(missing_ok=True)
        kept[0].unlink(missing_ok=True)
