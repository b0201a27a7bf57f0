"""Names of packages that are imported when they are first asked for, and former ones, which go on for one version with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_first_use(package: str, modules: Mapping[str, str], **former: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that imports its names when they are first asked for.

    What takes seconds to load is so loaded where it is used. Modules of the package are found as well. No module of it may have the name of
    what it exports, which importing the module would hide.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    modules : dict
        Names by module, separated by blanks.
    **former : str
        Names that go on for one version, by each where it is today.
    """
    places = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name in places:
            found = getattr(import_module(places[name]), name)
            setattr(sys.modules[package], name, found)
            return found
        if name not in former and not name.startswith("_"):
            try:
                return import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        return former_name(package, name, former)

    return get, lambda: sorted({*vars(sys.modules[package]), *places})


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
