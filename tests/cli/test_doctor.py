"""``imaging-restore --doctor``: an installation that works, and each way in which one does not."""

from __future__ import annotations

import json
import shutil
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from imaging.cli import checks
from imaging.cli.checks import FAILED, OK, WARNING, Check
from imaging.cli.doctor import examine
from imaging.errors import InputError
from imaging.releases import zoo_folder
from imaging.restoration import selftest
from imaging.restoration.selftest import SelfTest, geotiff_difference, restore_simulated, simulated_scene
from tests.cli.commands import invoke


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the restoration out."""
    monkeypatch.setattr(checks, "restoration", lambda: Check("restoration", OK, "left out"))


def test_an_installation_that_works() -> None:
    result = invoke("--doctor", "--json")
    assert result.exit_code == 0, result.stdout
    table = json.loads(result.stdout)
    lines = {c["name"]: c for c in table["checks"]}
    assert table["status"] != FAILED
    assert {"imaging-restore", "torch", "rasterio", "onnxruntime", "cores", "memory", "device", "disk", "GeoTIFF", "restoration"} <= set(
        lines
    )
    assert {f"model {p.parent.name}" for p in zoo_folder().glob("*/recipe.toml")} == {n for n in lines if n.startswith("model ")}
    assert lines["torch"]["message"] == metadata.version("torch")
    assert "GDAL " in lines["rasterio"]["message"]
    assert all((c["status"] == OK) == (c["advice"] == "") for c in table["checks"]), "who is not well is told what to do"


@pytest.mark.usefixtures("quick")
def test_text_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "disk", lambda: Check("disk", WARNING, "full", "free some"))
    result = invoke("--doctor")
    assert result.exit_code == 0, "warnings are allowed"
    assert "warning  disk                    full\n" in result.stdout
    assert "-> free some\n" in result.stdout
    assert ", 0 failed, " in result.stdout.splitlines()[-1]


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of three models, in which anything may be damaged."""
    folder = tmp_path / "models"
    for name in ("pan", "tv", "quantnas-sat-x2"):
        shutil.copytree(zoo_folder() / name, folder / name)
    monkeypatch.setattr(checks, "zoo_folder", lambda: folder)
    monkeypatch.setattr(metadata, "files", lambda _: [])  # an installation's record names all models
    return folder


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[str, Any, str]] = {
    "weights": ("tv", lambda p: _flip(p / "weights.safetensors"), "weights.safetensors is damaged: its SHA-256 starts with "),
    "onnx": ("quantnas-sat-x2", lambda p: _flip(p / "int8.onnx"), "int8.onnx is damaged"),
    "manifest": ("quantnas-sat-x2", lambda p: (p / "float32.json").write_text("{}"), "is no manifest"),
    "no weights": ("tv", lambda p: (p / "weights.safetensors").unlink(), "weights.safetensors is missing"),
    "no recipe": ("tv", lambda p: (p / "recipe.toml").unlink(), "recipe.toml cannot be read"),
    "no digest": ("tv", lambda p: (p / "recipe.toml").write_text('family = "tv"'), "the recipe says none"),
    "no default prior": ("pan", shutil.rmtree, "the model's folder is missing"),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("damage", DAMAGES)
def test_one_damaged_model_fails_and_the_others_do_not(zoo: Path, damage: str) -> None:
    name, harm, said = DAMAGES[damage]
    harm(zoo / name)
    result = invoke("--doctor", "--json")
    assert result.exit_code == 1
    table = json.loads(result.stdout)
    assert table["status"] == FAILED
    (failed,) = (c for c in table["checks"] if c["status"] == FAILED)
    assert failed["name"] == f"model {name}"
    assert said in failed["message"]
    assert failed["advice"]


@pytest.mark.usefixtures("quick")
def test_a_model_that_the_record_names_is_missed(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = [metadata.PackagePath(f"imaging/models/{name}/recipe.toml") for name in ("pan", "gone")]
    monkeypatch.setattr(metadata, "files", lambda _: record)
    (failed,) = (c for c in json.loads(invoke("--doctor", "--json").stdout)["checks"] if c["status"] == FAILED)
    assert (failed["name"], failed["message"]) == ("model gone", "the model's folder is missing")


@pytest.mark.usefixtures("quick")
def test_without_models_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise InputError("no model zoo is installed")

    monkeypatch.setattr(checks, "zoo_folder", none)
    result = invoke("--doctor")
    assert result.exit_code == 1
    assert "failed   models                  InputError: no model zoo is installed" in result.stdout
    assert "ok       GeoTIFF" in result.stdout


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let distributions seem not to be installed."""
    version = metadata.version

    def missing(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", missing)


def broken(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let modules fail to be imported."""

    def fail(name: str) -> Any:
        if name in names:
            raise ImportError("libsomething.so.1: cannot open shared object file\nand more")
        return import_module(name)

    monkeypatch.setattr(checks, "import_module", fail)


def test_onnxruntime_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    check = checks.onnxruntime()
    assert (check.status, check.advice) == (WARNING, "pip install 'imaging-restore[superres]'")


def test_compressai_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "compressai")
    assert checks.compressai() == Check("compressai", OK, "not installed; only published families of priors need it")


def test_compressai_that_is_broken_is_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.2.8")
    broken(monkeypatch, "compressai")
    check = checks.compressai()
    assert check.status == WARNING
    assert check.message.startswith("1.2.8 cannot be imported (ImportError: libsomething.so.1: cannot open shared object file)")
    assert check.advice == "pip install --force-reinstall compressai"


def test_onnxruntime_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    broken(monkeypatch, "onnxruntime")
    check = checks.onnxruntime()
    assert check.status == FAILED
    assert check.message.endswith("cannot be imported (ImportError: libsomething.so.1: cannot open shared object file)")


@pytest.mark.parametrize(("name", "distribution"), [("deepinv", "deepinv"), ("skimage", "scikit-image")])
def test_libraries_that_are_missing_or_broken(monkeypatch: pytest.MonkeyPatch, name: str, distribution: str) -> None:
    with monkeypatch.context() as context:
        without(context, distribution)
        assert checks.library(name) == Check(name, FAILED, "not installed", f"pip install {distribution}")
    broken(monkeypatch, name)
    check = checks.library(name)
    assert (check.status, check.advice) == (FAILED, f"pip install --force-reinstall {distribution}")


@pytest.mark.usefixtures("quick")
def test_a_check_that_cannot_be_done_fails_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> Check:
        raise OSError("no such device")

    monkeypatch.setattr(checks, "disk", wrong)
    lines = {c.name: c for c in examine()}
    assert lines["disk"] == Check("disk", FAILED, "OSError: no such device", "set TMPDIR to a folder that can be written to")
    assert lines["GeoTIFF"].status == OK, lines["GeoTIFF"]


def test_a_full_disk_and_too_many_threads_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**8))
    assert checks.disk().status == WARNING
    assert "0.1 GB free" in checks.disk().message
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert checks.cores().status == WARNING
    assert "set OMP_NUM_THREADS=" in checks.cores().advice


@pytest.mark.parametrize(
    ("driver", "build", "visible", "status", "said"),
    [
        (None, "12.4", None, OK, "no NVIDIA driver is on this machine (torch is built for CUDA 12.4)"),
        (None, None, None, OK, "no NVIDIA driver is on this machine (torch is built for the CPU)"),
        ("nvidia-smi", None, None, WARNING, "torch is built for the CPU"),
        ("nvidia-smi", "12.4", "", WARNING, "CUDA_VISIBLE_DEVICES='' hides the GPUs"),
        ("nvidia-smi", "12.4", "-1", WARNING, "CUDA_VISIBLE_DEVICES='-1' hides the GPUs"),
        ("nvidia-smi", "12.4", "0", WARNING, "the NVIDIA driver offers no device to CUDA 12.4"),
    ],
)
def test_why_there_is_no_cuda_device(
    monkeypatch: pytest.MonkeyPatch, driver: str | None, build: str | None, visible: str | None, status: str, said: str
) -> None:
    exists = Path.exists
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(shutil, "which", lambda _: driver)
    monkeypatch.setattr(Path, "exists", lambda p: False if str(p) == "/dev/nvidia0" else exists(p))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (check,) = checks.devices()
    assert check.status == status
    assert said in check.message


def test_cuda_devices_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(name=f"card {k}", total_memory=int(8e10)))
    assert [c.message for c in checks.devices()] == ["cuda:0 card 0, 80.0 GB", "cuda:1 card 1, 80.0 GB"]


def test_simulated_scene_is_the_same_again() -> None:
    scene = simulated_scene(40)
    assert scene.shape == (40, 40)
    assert 0 <= scene.min() < scene.max() <= 1
    np.testing.assert_array_equal(scene, simulated_scene(40))
    assert not np.array_equal(scene, simulated_scene(40, seed=1))


def test_self_test_sees_a_prior_that_knows_nothing(tiny_prior: Path) -> None:
    outcome = restore_simulated(str(tiny_prior))
    assert not (outcome.better and outcome.honest)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (SelfTest(30.0, 39.0, 0.92), OK),
        (SelfTest(30.0, 35.9, 0.92), FAILED),
        (SelfTest(30.0, 39.0, 0.79), FAILED),
        (SelfTest(30.0, 39.0, 1.0), FAILED),
        (SelfTest(30.0, float("nan"), 0.92), FAILED),
    ],
)
def test_what_the_self_test_makes_of_its_outcome(monkeypatch: pytest.MonkeyPatch, outcome: SelfTest, status: str) -> None:
    monkeypatch.setattr(selftest, "restore_simulated", lambda: outcome)
    check = checks.restoration()
    assert check.status == status
    assert ("expected are at least 6 dB more, and 80 to 98 %" in check.advice) == (status == FAILED)


def test_the_geotiff_that_is_read_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert geotiff_difference(tmp_path) is None
    assert list(tmp_path.iterdir()) == [], "nothing stays"

    class Moved(selftest.Scene):
        def __init__(self, path: Path) -> None:
            with selftest.rasterio.open(path, "r+") as target:
                target.transform = selftest.Affine(1, 0, 5, 0, -1, 5)
            super().__init__(path)

    with monkeypatch.context() as context:
        context.setattr(selftest, "Scene", Moved)
        assert geotiff_difference(tmp_path) == "georeference"

    class Changed(selftest.Scene):
        def __init__(self, path: Path) -> None:
            with selftest.rasterio.open(path, "r+") as target:
                target.write(np.zeros((64, 48), np.uint16), 1)
            super().__init__(path)

    with monkeypatch.context() as context:
        context.setattr(selftest, "Scene", Changed)
        assert geotiff_difference(tmp_path) == "values"
        assert checks.geotiff().status == FAILED
