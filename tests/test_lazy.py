"""Packages whose names are imported on first use."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import imaging

ROOMS = sorted(
    ".".join(("imaging", *p.parent.relative_to(Path(imaging.__file__).parent).parts))
    for p in Path(imaging.__file__).parent.rglob("*/__init__.py")
    if "on_first_use(" in p.read_text(encoding="utf-8")
)


def test_rooms_are_found() -> None:
    assert {"imaging.sensors", "imaging.raster", "imaging.restoration", "imaging.archive", "imaging.report"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_each_name_is_there_and_is_no_module(room: str) -> None:
    package = import_module(room)
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    imported = {a.name for b in tree.body if isinstance(b, ast.If) for n in b.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert imported == set(package.__all__)
    folder = Path(str(package.__file__)).parent
    assert not imported & {p.stem for p in folder.iterdir()}, "importing such a module would hide what has its name"
    for name in imported:
        assert getattr(package, name) is getattr(import_module(room), name)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_imports_none_of_its_modules(room: str) -> None:
    code = f"import sys, {room}; print(*(m for m in sys.modules if m.startswith('{room}.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
