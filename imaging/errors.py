"""Errors that a user sees: one sentence each, under one base. Every room may import this module; it imports nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class ImagingError(Exception):
    """Base of all errors this package raises on purpose; the message is a sentence for the user."""


class InputError(ImagingError):
    """What was asked or given cannot be used; nothing was written (exit code 2)."""


class ResumeError(InputError):
    """An interrupted run cannot be taken over: it was begun with other settings or another input."""


class WorkError(ImagingError):
    """Something failed while working (exit code 1)."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` when a known name is close, with the list of all known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}known are {', '.join(names)}"


def missing(path: Path, what: str = "") -> str:
    """Why a path is no file: it does not exist, with the name of its folder that is nearest, if one is near, or it is something else."""
    if path.exists():
        return f"{what}{path} is {'a folder' if path.is_dir() else 'neither a file nor a folder'}"
    if path.is_symlink():
        return f"{what}{path} is a link that leads nowhere"
    try:
        known = {p.name.lower(): p for p in path.parent.iterdir()}
    except OSError:
        known = {}
    close = difflib.get_close_matches(path.name.lower(), known, n=1, cutoff=0.75)
    return f"{what}{path} does not exist" + (f"; did you mean {known[close[0]]}?" if close else "")


def one_line(error: Exception) -> str:
    """The first line of what a library says, for use within a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
