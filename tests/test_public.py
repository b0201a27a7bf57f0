"""The public face: `imaging.__all__`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import rasterio

import imaging
from tests.scenes import listing, read

FACE = Path(imaging.__file__)
NAMES = [n for n in imaging.__all__ if n != "__version__"]
SCRIPT = """
import numpy as np

import imaging

options = imaging.RestoreOptions(samples=4, bands=(1,))
restored, std, samples = imaging.restore(np.zeros((1, 64, 64), np.uint16), "pleiades-raw", options=options)
total: float = float(restored.mean() + std.mean() + samples.mean())
result: imaging.SceneResult = imaging.restore_scene("scene.tif", "pleiades", output="restored.tif", save_samples="drawn", options=options)
seconds: float = result.seconds
prior: imaging.LatentPrior = imaging.load_prior("pan")
model = imaging.VBLE(prior, imaging.FitSettings(iterations=8))
names: list[str] = imaging.builtin_sensors() + [m.name for m in imaging.list_models() + imaging.list_regularizers()]
profile: imaging.SensorProfile = imaging.load_profile(names[0])
physics: imaging.SensorPhysics = imaging.sensor_physics(profile.bands, profile.full_scale)
point = imaging.RegularizedReconstructor(imaging.load_regularizer("wcrr"))
fine = imaging.SuperResolver("quantnas-sat-x2")(restored)
finer = imaging.super_resolve(restored, options=imaging.SuperResolveOptions(scale=2))
report: imaging.ArchiveReport = imaging.restore_archive("archive/", None, output="out/", options=options, workers=2, save_samples="drawn")
try:
    imaging.super_resolve_scene("scene.tif", options=imaging.SuperResolveOptions(scale=4))
except imaging.InputError as error:
    print(error)
"""
WRONG = "import imaging\n\noptions = imaging.RestoreOptions(samples='4')\nimaging.restore_scene('a.tif', 'pleiades', output=4)\n"
CONFIGURATION = """
[mypy]
strict = true
[mypy-torch.*,deepinv.*,compressai.*,rasterio.*,scipy.*,skimage.*,safetensors.*,onnx.*,onnxruntime.*,distributed.*,tqdm.*]
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
    with pytest.raises(AttributeError, match="module 'imaging' has no attribute 'restroe'; did you mean restore"):
        imaging.restroe  # noqa: B018
    with pytest.raises(AttributeError, match=r"folders are restored by imaging\.restore_archive"):
        imaging.restore_folder  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert (FACE.parent / "py.typed").exists()


def test_a_users_script_is_checked_by_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for name, text in (("user.py", SCRIPT), ("wrong.py", WRONG), ("mypy.ini", CONFIGURATION)):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--follow-imports", "silent", "user.py", "wrong.py"]
    path = os.environ | {"MYPYPATH": str(FACE.parents[1])} if "site-packages" not in str(FACE) else os.environ
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=path)
    assert [line for line in done.stdout.splitlines() if "error:" in line] == [
        'wrong.py:3: error: Argument "samples" to "RestoreOptions" has incompatible type "str"; expected "int"  [arg-type]',
        'wrong.py:4: error: Argument "output" to "restore_scene" has incompatible type "int"; expected "str | Path | None"  [arg-type]',
    ]


# A tour of the interface, on the scene that the repository brings: arrays, files, archives, models.

SCENE = Path(__file__).parents[1] / "data" / "pleiades_like_pan.tif"


@pytest.fixture(scope="module")
def crop(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corner of the sample scene, in a folder of its own."""
    path = tmp_path_factory.mktemp("tour") / "scene.tif"
    with rasterio.open(SCENE) as source, rasterio.open(path, "w", **source.profile | {"height": 96, "width": 128}) as target:
        target.write(source.read(window=((0, 96), (0, 128))))
    return str(path)


def test_an_array_is_restored_as_its_file_is(crop: str, tmp_path: Path) -> None:
    values = read(Path(crop))
    restored, std, samples = imaging.restore(values, "pleiades-raw")
    assert restored.shape == std.shape == values.shape
    assert samples.shape == (0, *values.shape)
    result = imaging.restore_scene(crop, "pleiades-raw", output=str(tmp_path / "better.tif"))
    assert (result.restored, result.std) == (str(tmp_path / "better.tif"), str(tmp_path / "better_std.tif"))
    assert np.abs(read(tmp_path / "better.tif") - restored).max() <= 0.5
    np.testing.assert_allclose(read(tmp_path / "better_std.tif"), std, rtol=1e-5)


def test_an_array_is_super_resolved_as_its_file_is(crop: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    fine = imaging.super_resolve(read(Path(crop)), options=imaging.SuperResolveOptions(range=4095))
    result = imaging.super_resolve_scene(crop, output=tmp_path / "fine.tif", options=imaging.SuperResolveOptions(range=4095))
    assert (result.width, result.height, result.scale) == (256, 192, 2)
    assert np.abs(read(tmp_path / "fine.tif") - fine).max() <= 0.5


def test_a_plan_names_what_a_run_then_writes(crop: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"output": str(tmp_path / "a.tif"), "save_samples": str(tmp_path)}
    options = imaging.RestoreOptions(samples=1, iterations=1, method="amortised")
    plan = imaging.plan_scene(crop, "pleiades-raw", options=options, **settings)
    assert not any(tmp_path.iterdir())
    imaging.restore_scene(crop, "pleiades-raw", options=options, **settings)
    assert sorted(map(str, tmp_path.iterdir())) == sorted(plan["outputs"])


def test_an_archive_is_a_folder_or_what_was_found_in_it(crop: str, tmp_path: Path) -> None:
    folder, options = str(Path(crop).parent), imaging.RestoreOptions(method="amortised", iterations=1)
    report = imaging.restore_archive(folder, "pleiades-raw", output=str(tmp_path / "out"), options=options)
    assert (report.count("restored"), report.failures) == (1, [])
    entries = imaging.find_entries(folder, str(tmp_path / "again"))
    imaging.restore_archive(entries, "pleiades-raw", options=options, uncertainty=False, workers=1)
    assert listing(tmp_path / "again") == {"scene_restored.tif": (tmp_path / "out" / "scene_restored.tif").read_bytes()}


def test_lists_tell_of_models_in_one_way() -> None:
    lists = (imaging.list_priors, imaging.list_networks, imaging.list_regularizers, imaging.list_models)
    for found in (f() for f in lists):
        assert [m.name for m in found] == sorted(m.name for m in found)
        assert found
        for model in found:
            assert model.title
            assert re.fullmatch("[0-9a-f]{64}", model.digest)
            assert (model.folder / "recipe.toml").exists()


def test_former_spellings_go_on_for_one_version_with_a_warning(crop: str, tmp_path: Path) -> None:
    options = imaging.RestoreOptions(method="amortised", iterations=1)
    paths = imaging.ScenePaths(input=Path(crop), output=tmp_path / "former.tif")
    today = imaging.plan_scene(crop, "pleiades-raw", output=tmp_path / "former.tif", options=options)
    former: Any = imaging
    with pytest.warns(DeprecationWarning, match=r"plan_scene ends with version 0\.2; it is now plan_scene\(input, sensor"):
        assert former.plan_scene(paths, "pleiades-raw", options) == today
    with pytest.warns(DeprecationWarning, match="plan_scene"):
        assert former.plan_scene(paths=paths, sensor="pleiades-raw", options=options) == today
    with pytest.warns(DeprecationWarning, match="restore_scene"):
        former.restore_scene(paths, "pleiades-raw", options)
    with pytest.warns(DeprecationWarning, match="save_samples"):
        assert imaging.ScenePaths(input=Path("a.tif"), samples=tmp_path).save_samples == tmp_path
    entries = imaging.find_entries(Path(crop).parent, tmp_path / "out")
    plain = imaging.ScenePaths(input=Path(), uncertainty=False)
    with pytest.warns(DeprecationWarning, match="restore_archive"):
        report = former.restore_archive(
            entries, "pleiades-raw", options, plain, make_executor=lambda: imaging.local_executor(1)[0], ahead=2
        )  # fmt: skip
    assert report.count("restored") == 1
    assert (tmp_path / "out" / "scene_restored.tif").read_bytes() == (tmp_path / "former.tif").read_bytes()


def test_former_super_resolution(crop: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    former: Any = imaging
    paths = imaging.ScenePaths(input=Path(crop), output=tmp_path / "fine.tif")
    with pytest.warns(DeprecationWarning, match="super_resolve_scene"):
        assert former.super_resolve_scene(paths, imaging.SuperResolveOptions()).width == 256
    with pytest.warns(DeprecationWarning, match="super_resolve_scene"):
        result = former.super_resolve_scene(imaging.ScenePaths(input=Path(crop), overwrite=True))
    assert Path(result.restored).name == "scene_restored.tif", "as before"
    Path(result.restored).unlink()


def test_lists_that_held_names_still_serve_as_such() -> None:
    first = imaging.list_regularizers()[0]
    former: Any = imaging
    with pytest.warns(DeprecationWarning, match="compare its name"):
        assert first.name in former.list_regularizers()
    assert str(first) == former.load_regularizer(first).name
    assert first != imaging.list_models()[0]
    assert first in {*imaging.list_regularizers()}


def test_former_keywords() -> None:
    former: Any = imaging
    bands = imaging.load_profile("pleiades-raw").bands
    with pytest.warns(DeprecationWarning, match=r"sensor_physics\(scale=...\) ends with version 0\.2; it is now factor"):
        assert former.sensor_physics(bands, 4095.0, scale=2).factor == imaging.sensor_physics(bands, 4095.0, factor=2).factor == 2
    with pytest.warns(DeprecationWarning, match="imaging.PriorInfo is now imaging.ModelInfo"):
        assert former.PriorInfo is imaging.ModelInfo


def test_what_one_call_takes_is_not_taken_for_what_another_does(crop: str, tmp_path: Path) -> None:
    wrong: Any = imaging.SuperResolveOptions()
    with pytest.raises(imaging.InputError, match="options are a SuperResolveOptions; accepted are RestoreOptions"):
        imaging.restore_scene(crop, "pleiades-raw", output=tmp_path / "a.tif", options=wrong)
    with pytest.raises(imaging.InputError, match="options are a dict; accepted are SuperResolveOptions"):
        imaging.super_resolve_scene(crop, output=tmp_path / "a.tif", options={"scale": 2})  # type: ignore[arg-type]
    with pytest.raises(imaging.InputError, match="is the name of a file; for files there are restore_scene"):
        imaging.restore(crop, "pleiades-raw")  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_a_worker_that_imports_a_program_begins_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(imaging.InputError, match='put what it does under if __name__ == "__main__"'):
        imaging.local_executor(2)


FORMER = {
    "amortised": ["NetworkInfo"], "bilevel": ["Cost", "Linear", "minres", "polish"], "posterior": ["Moments"], "priors": ["PriorInfo"],
    "raster": ["Product", "write_product", "Summary", "sync"], "restoration": ["Job", "restore_tiles"], "superres": ["Manifest"],
}  # fmt: skip


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in FORMER.items() for name in names])
def test_names_that_a_room_had_go_on_for_one_version(room: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"imaging\.{room}\.{name} ends with version 0\.2; it is now imaging\."):
        assert callable(getattr(import_module(f"imaging.{room}"), name))
    with pytest.raises(AttributeError, match=f"module 'imaging.{room}' has no attribute 'nothing'"):
        import_module(f"imaging.{room}").nothing  # noqa: B018
