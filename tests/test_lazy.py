"""Packages whose names are imported on first use."""

from __future__ import annotations

import ast
import compileall
import os
import shutil
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
    assert imported <= set(dir(package))
    for name in imported:
        assert getattr(package, name) is getattr(import_module(room), name)
    assert not hasattr(package, "nonsense")
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def test_the_table_is_that_of_type_checkers() -> None:
    for room in ROOMS:
        tree = ast.parse(Path(str(import_module(room).__file__)).read_text(encoding="utf-8"))
        (block,) = (b for b in tree.body if isinstance(b, ast.If))
        seen = {(a.name, n.module) for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
        table = next(n.value for n in block.orelse if isinstance(n, ast.Assign) and isinstance(n.value, ast.Dict))
        assert {(name, module) for module, names in ast.literal_eval(table).items() for name in names.split()} == seen


@pytest.mark.parametrize("module", ["imaging.sensors.products", "imaging.raster.tiles", "imaging.restoration.options"])
def test_modules_are_attributes_of_their_room(module: str) -> None:
    room, _, name = module.rpartition(".")
    code = f"import {room}; print({module}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == module, name


def test_an_installation_without_sources_works(tmp_path: Path) -> None:
    package = Path(imaging.__file__).parent
    shutil.copytree(package, tmp_path / "imaging", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(tmp_path / "imaging", quiet=1, legacy=True)
    for path in (tmp_path / "imaging").rglob("*.py"):
        path.unlink()
    code = "import imaging.sensors as s; print(s.load_profile('pleiades').name, imaging.RestoreOptions().method, imaging.__file__)"
    code = f"import imaging; {code}"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert done.stdout.split() == ["pleiades", "auto", str(tmp_path / "imaging" / "__init__.pyc")]


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_imports_none_of_its_modules(room: str) -> None:
    code = f"import sys, {room}; print(*(m for m in sys.modules if m.startswith('{room}.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
