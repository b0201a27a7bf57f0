"""Further files of a restoration, beside its rasters: checked before work begins."""

from __future__ import annotations

import os
from pathlib import Path

from imaging.errors import InputError
from imaging.raster import temporary

_LONGEST = 255
"""Bytes of a file's name that usual file systems hold."""


def check_extra(path: Path, suffix: str, job_outputs: list[Path], source: Path, overwrite: bool) -> None:
    """Refuse a further output that would destroy something or cannot be written, by an `InputError`; nothing is written or changed.

    Its name has to end in ``suffix``, such as ``".png"``, in lower or upper case. It must be none of ``job_outputs``, all other files of
    the run, nor the ``source`` that is read; a file that exists is in the way unless ``overwrite``.
    """
    if len(os.fsencode(path.name)) > _LONGEST:
        raise InputError(f"the name {path.name[:20]}... is too long; accepted are {_LONGEST} bytes")
    if path.suffix.lower() != suffix:
        raise InputError(f"{path} does not end in {suffix}; name it such as {path.with_suffix(suffix) if path.name else f'scene{suffix}'}")
    if path.is_dir():
        raise InputError(f"the output {path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"the output folder {path.parent} does not exist; create it or choose another name")
    if _same(path, source):
        raise InputError(f"the output {path} is read as an input, {source}; choose another name")
    for other in job_outputs:
        if _same(path, other):
            raise InputError(f"two outputs have the same name, {path}; choose another one")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; add --overwrite to replace it")
    from imaging.raster import disk_errors  # takes longer than to refuse

    with disk_errors(path.parent):
        attempt = temporary(path)
        attempt.touch()
        attempt.unlink()


def _same(first: Path, second: Path) -> bool:
    """Whether two names lead to one file, which need not be there."""
    return first.resolve() == second.resolve() or (first.exists() and second.exists() and first.samefile(second))
