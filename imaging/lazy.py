"""Names of packages that are imported when they are first asked for, and former ones, which go on for one version with a warning."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def on_first_use(package: str, **former: str) -> Callable[[str], Any]:
    """``__getattr__`` of a package that imports each name, when it is first asked for, as the package does for type checkers.

    What takes seconds to load is so loaded where it is used.
    Those imports stand below ``if TYPE_CHECKING:``. No module of the package may have the name of what it exports, which importing the
    module would hide.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    **former : str
        Names that go on for one version; by each where it is today.
    """

    @cache
    def places() -> dict[str, tuple[str, str]]:
        tree = ast.parse(Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8"))
        imports = [node for block in tree.body if isinstance(block, ast.If) for node in block.body if isinstance(node, ast.ImportFrom)]
        return {a.asname or a.name: (str(node.module), a.name) for node in imports for a in node.names}

    def get(name: str) -> Any:
        if name not in places():
            return former_name(package, name, former)
        module, wanted = places()[name]
        found = getattr(import_module(module), wanted)
        setattr(sys.modules[package], name, found)
        return found

    return get


def former_name(room: str, name: str, today: dict[str, str]) -> Any:
    """What a room had under a name before, by where it is today; for a ``__getattr__`` that calls this from a function of its own."""
    if name not in today:
        raise AttributeError(f"module {room!r} has no attribute {name!r}")
    warnings.warn(f"{room}.{name} ends with version 0.2; it is now {today[name]}", DeprecationWarning, stacklevel=3)
    module, _, found = today[name].rpartition(".")
    return getattr(import_module(module), found)


def former_names(room: str, **today: str) -> Callable[[str], Any]:
    """``__getattr__`` of a room that gives what it called otherwise, or had, before; by each name where the thing is today."""

    def get(name: str) -> Any:
        return former_name(room, name, today)

    return get
