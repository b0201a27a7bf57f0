"""Types of the command's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from imaging.names import AUTO, NOISES, NONE


class _File(click.Path):
    """A path that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if value == "":
            self.fail("the name is empty; a variable of the shell may be unset", param, ctx)
        return super().convert(value, param, ctx)


class _Folder(_File):
    """A folder: the shell completes no files."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell."""
        return [CompletionItem(incomplete, type="dir")]


PATH = _File(path_type=Path)
FOLDER = _Folder(path_type=Path)


class Bands(click.ParamType):  # type: ignore[type-arg]
    """Band numbers, such as ``1,2``."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The value of a text."""
        try:
            return tuple(int(v) for v in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of band numbers such as 1,2", param, ctx)


class _WordsOrNumbers(click.ParamType):  # type: ignore[type-arg]
    """One of some words, or numbers between commas: ``count`` of them, or any where that is 0; ``accepted`` ends the refusal."""

    words: tuple[str, ...]
    count = 0
    accepted: str

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...] | str:
        """The value of a text."""
        if value in self.words:
            return str(value)
        try:
            numbers = tuple(float(v) for v in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or len(numbers) != (self.count or len(numbers)):
            self.fail(f"{value!r} is {self.accepted}", param, ctx)
        return numbers


class Noise(_WordsOrNumbers):
    """Where the noise model comes from, or its two numbers."""

    name = "profile|estimate|SIGMA0,GAIN"
    words, count = NOISES, 2
    accepted = "none of profile, estimate, or two numbers SIGMA0,GAIN such as 6,0.09"


class Weights(_WordsOrNumbers):
    """Spectral weights of a panchromatic band, or ``auto``."""

    name = "auto|W1,W2,..."
    words = (AUTO,)
    accepted = "neither auto nor a list of weights such as 0.2,0.3,0.3,0.2"


class Shift(_WordsOrNumbers):
    """Shift of two grids, or where it comes from."""

    name = "auto|none|DX,DY"
    words, count = (AUTO, NONE), 2
    accepted = "none of auto, none, or two numbers DX,DY such as 0.3,-0.2"


class Batch(click.ParamType):  # type: ignore[type-arg]
    """A number of tiles, or None for ``auto``."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """The value of a text."""
        if value is None or value == "auto":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither auto nor a number of tiles", param, ctx)
