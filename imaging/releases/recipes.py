"""Recipes: TOML tables whose values are what they should be, or one sentence that names the file and the key."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from reprlib import repr as short
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from imaging.errors import InputError, did_you_mean, one_line

T = TypeVar("T")

MOST_CHANNELS = 32
_SIZES = {"channels": MOST_CHANNELS, "blocks": 64, "fine_blocks": 64, "context_blocks": 64, "kernel": 64}
"""Largest whole numbers in the tables that models are made from, so that no recipe asks for more memory than there is."""
_SIZE = 1024
"""Of sizes of other names there."""


@dataclass(frozen=True)
class Table:
    """A recipe or one of its tables: what is asked of it is what it should be, or an `InputError` that names the file and the key.

    Attributes
    ----------
    values : dict
        What was read, which is not to be changed.
    source : str
        What the recipe is called in messages.
    table : str
        Name of the table; empty for the recipe itself.
    """

    values: Mapping[str, Any]
    source: str = "the recipe"
    table: str = ""

    @classmethod
    def parse(cls, text: str, source: str = "the recipe") -> Table:
        """From TOML; the same text is parsed once."""
        try:
            return cls(_parsed(text), source)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{source} is no TOML: {error}") from error

    @property
    def _place(self) -> str:
        return f" in [{self.table}]" if self.table else ""

    def refuse(self, key: str, accepted: str) -> NoReturn:
        """Say what is wrong with a key."""
        if key not in self.values:
            raise InputError(f"{self.source} lacks {key}{self._place}; accepted are {accepted}")
        raise InputError(f"{self.source}: {key}{self._place} is {short(self.values[key])}; accepted are {accepted}")

    def under(self, name: str) -> Table:
        """One of its tables, empty where there is none."""
        values = self.values.get(name, {})
        if not isinstance(values, dict):
            self.refuse(name, "tables")
        return Table(values, self.source, f"{self.table}.{name}" if self.table else name)

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """A value of an annotated type; required where the default is None."""
        value, (fits, words) = self.values.get(key, default), _accepted(kind)
        return _frozen(value) if fits(value) else self.refuse(key, words)

    def number(self, key: str, default: float, least: float, below: float) -> float:
        """A number from ``least`` to below a limit."""
        value = self.values.get(key, default)
        if not _accepted(float)[0](value) or not least <= value < below:
            self.refuse(key, f"numbers from {least:g} below {below:g}")
        return float(value)

    def make(self, kind: type[T], *, sizes: bool = False) -> T:
        """What a class makes of the table's values as its arguments, each of the type that it is annotated with.

        Parameters
        ----------
        kind : type
            A class of settings or of a model.
        sizes : bool
            Whether the whole numbers are sizes of what is made, and limited as such.
        """
        arguments, types = inspect.signature(kind).parameters, get_type_hints(kind.__init__)  # type: ignore[misc]
        for key, value in self.values.items():
            if key not in arguments:
                raise InputError(f"{self.source}: unknown key {key!r}{self._place}; {did_you_mean(key, arguments)}")
            limits = (0 if key.endswith("blocks") else 1, _SIZES.get(key, _SIZE)) if sizes else ()
            fits, words = _accepted(types[key], *limits)
            if not fits(value):
                self.refuse(key, words)
        try:
            return kind(**_frozen(self.values))
        except (InputError, TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
            raise InputError(f"{self.source}: nothing can be made from [{self.table}]: {one_line(error)}") from error


@lru_cache(64)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _frozen(value: Any) -> Any:
    """A value with tuples for lists."""
    if isinstance(value, dict):
        return {k: _frozen(v) for k, v in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _accepted(kind: Any, least: int = 0, most: int = 10**7) -> tuple[Callable[[Any], bool], str]:
    """What an annotated type accepts of a recipe, its whole numbers from ``least`` to ``most``: as a check, and in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is int:
        return lambda v: type(v) is int and least <= v <= most, f"whole numbers from {least} to {most}"
    if kind is float:
        return lambda v: type(v) in (int, float) and abs(v) < 1e300, "finite numbers"
    if isinstance(kind, type) and origin is None:
        return lambda v: isinstance(v, kind), {bool: "true and false", str: "texts"}.get(kind, "")
    if origin is dict:
        fits, words = _accepted(inner[1], least, most)
        return lambda v: isinstance(v, dict) and all(map(fits, v.values())), f"tables of {words}"
    if origin in (tuple, Sequence):
        fits, words = _accepted(inner[0], least, most)
        count = [len(inner)] if origin is tuple and Ellipsis not in inner else []
        words = " ".join(["lists of", *map(str, count), words])
        return lambda v: isinstance(v, list | tuple) and len(v) >= least and count in ([], [len(v)]) and all(map(fits, v)), words
    checks = [_accepted(k, least, most) for k in inner]
    return lambda v: any(fits(v) for fits, _ in checks), " or ".join(words for _, words in checks if words)


def read_recipe(folder: Path) -> Table:
    """Recipe of a model folder; `InputError` where there is none."""
    path = folder / "recipe.toml"
    try:
        return Table(_parsed(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder} is not a model folder: its recipe.toml cannot be read") from error
