"""The public face: `imaging.__all__`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import imaging

FACE = Path(imaging.__file__)
NAMES = [n for n in imaging.__all__ if n != "__version__"]
SCRIPT = """
from pathlib import Path

import numpy as np

import imaging

options = imaging.RestoreOptions(samples=4, bands=(1,))
restored, std, samples = imaging.restore(np.zeros((1, 64, 64), np.uint16), "pleiades-raw", options=options)
total: float = float(restored.mean() + std.mean() + samples.mean())
paths = imaging.ScenePaths(input=Path("scene.tif"))
result: imaging.SceneResult = imaging.restore_scene(paths, "pleiades", options)
seconds: float = result.seconds
prior: imaging.LatentPrior = imaging.load_prior("pan")
model = imaging.VBLE(prior, imaging.FitSettings(iterations=8))
names: list[str] = imaging.builtin_sensors() + [m.name for m in imaging.list_models() + imaging.list_regularizers()]
profile: imaging.SensorProfile = imaging.load_profile(names[0])
physics: imaging.SensorPhysics = imaging.sensor_physics(profile.bands, profile.full_scale)
point = imaging.RegularizedReconstructor(imaging.load_regularizer("wcrr"))
fine = imaging.SuperResolver("quantnas-sat-x2")(restored)
entries = imaging.find_entries(Path("archive"), Path("out"))
report: imaging.ArchiveReport = imaging.restore_archive(
    entries, None, options, paths, make_executor=lambda: imaging.local_executor(1)[0], ahead=2
)
try:
    imaging.super_resolve_scene(paths, imaging.SuperResolveOptions(scale=4))
except imaging.InputError as error:
    print(error)
"""
WRONG = "import imaging\n\noptions = imaging.RestoreOptions(samples='4')\n"
CONFIGURATION = """
[mypy]
strict = true
[mypy-torch.*,deepinv.*,compressai.*,rasterio.*,scipy.*,skimage.*,safetensors.*,onnx.*,onnxruntime.*,distributed.*,tqdm.*,tomli.*]
follow_imports = skip
ignore_missing_imports = true
"""


def functions(thing: Any) -> Iterator[Callable[..., Any]]:
    """A function itself, or the public methods and properties that a class has of its own."""
    if not inspect.isclass(thing):
        yield thing
        return
    for name, value in vars(thing).items():
        if name in {"__init__", "__call__"} or not name.startswith("_"):
            found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(found) and found.__module__.startswith("imaging."):
                yield found


def given(thing: Any) -> list[str]:
    """What a caller gives to a function or class, or reads from it."""
    if not inspect.isclass(thing):
        return list(inspect.signature(thing).parameters)
    if dataclasses.is_dataclass(thing):
        return [f.name for f in dataclasses.fields(thing)]
    if issubclass(thing, Exception):
        return []
    return list(getattr(thing, "_fields", ())) or [p for p in inspect.signature(thing).parameters if p not in {"args", "kwargs"}]


def test_importing_the_package_loads_no_library() -> None:
    text = "import sys, imaging; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = set(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split())
    assert "imaging" in loaded
    assert not loaded & {"torch", "numpy", "scipy", "rasterio", "deepinv", "compressai", "click", "onnxruntime"}


def test_names_are_sorted_unique_and_listed() -> None:
    assert sorted(NAMES) == NAMES
    assert len(set(NAMES)) == len(NAMES)
    assert dir(imaging) == sorted(imaging.__all__)


def test_type_checkers_see_the_names_where_python_finds_them() -> None:
    tree = ast.parse(FACE.read_text(encoding="utf-8"))
    shown = {a.name: n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names if a.asname == a.name}
    assert shown == imaging._PUBLIC


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name(name: str) -> None:
    thing = getattr(imaging, name)
    assert thing is getattr(import_module(imaging._PUBLIC[name]), name)
    text = thing.__doc__ or ""
    assert not text.startswith(f"{name}("), "a docstring of its own, not the one that dataclass makes"
    assert re.match(r"\S.*\.", text.splitlines()[0] if text else ""), "begins with a sentence"
    unsaid = [p for p in given(thing) if not re.search(rf"\b{p}\b", text)]
    assert not unsaid, f"the docstring of {name} does not tell of {', '.join(unsaid)}"
    if inspect.isclass(thing):
        get_type_hints(thing)
    for function in functions(thing):
        hints = get_type_hints(function)
        parameters = [p for p in inspect.signature(function).parameters if p not in {"self", "cls"}]
        assert set(parameters) | {"return"} <= set(hints), f"{function.__qualname__} lacks annotations"
        assert function.__doc__ or function.__name__.startswith("__"), f"{function.__qualname__} lacks a docstring"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'imaging' has no attribute 'restroe'"):
        imaging.restroe  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert (FACE.parent / "py.typed").exists()


def test_a_users_script_is_checked_by_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for name, text in (("user.py", SCRIPT), ("wrong.py", WRONG), ("mypy.ini", CONFIGURATION)):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--follow-imports", "silent", "user.py", "wrong.py"]
    path = os.environ | {"MYPYPATH": str(FACE.parents[1])} if "site-packages" not in str(FACE) else os.environ
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=path)
    assert done.stdout.splitlines()[:-1] == [
        'wrong.py:3: error: Argument "samples" to "RestoreOptions" has incompatible type "str"; expected "int"  [arg-type]'
    ]
