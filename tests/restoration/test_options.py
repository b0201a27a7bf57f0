"""Settings are checked once, and outputs have the names the manual gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from imaging.errors import InputError
from imaging.posterior import FitSettings
from imaging.restoration import RestoreOptions, ScenePaths
from imaging.restoration.deciding import fit_settings
from imaging.restoration.method import torch_device
from imaging.restoration.paths import check_paths


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "vble-x"}, "unknown method 'vble-x'; did you mean vble-xz"),
        ({"scale": 3}, "the scale is 3; accepted are 1"),
        ({"iterations": 0}, "iterations is 0; accepted are integers from 1"),
        ({"rate_scale": 0.0}, "rate scale is 0.0; accepted are numbers above 0"),
        ({"weight": float("nan")}, "weight is nan; accepted are numbers above 0"),
        ({"samples": -1}, "samples is -1; accepted are integers from 0"),
        ({"tile": 10}, "tile is 10; accepted are integers from 64"),
        ({"tile": 100}, "the tile size is 100; accepted are multiples of 32 from 64 to 8192"),
        ({"tile": 16384}, "the tile size is 16384"),
        ({"batch": 0}, "the batch is 0; accepted are integers from 1"),
        ({"noise": "guess"}, "noise is 'guess'; accepted are profile, estimate or two numbers"),
    ],
)
def test_unusable_settings_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        RestoreOptions(**changes)


def test_what_concerns_the_fit_reaches_it() -> None:
    settings = fit_settings(RestoreOptions(rate_scale=0.5, weight=0.7, calibrated=False, iterations=3, method="vble"), "vble", "pass")
    assert settings == FitSettings(rate_scale=0.5, weight=0.7, calibrated=False, iterations=3, method="vble")
    assert fit_settings(RestoreOptions(), "vble-xz", "wiener") == FitSettings()
    assert fit_settings(RestoreOptions(iterations=24), "vble-xz", "pass") == FitSettings()


def test_a_folder_for_samples_without_their_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="but no number of them; add --samples N"):
        check_paths(ScenePaths(input=tmp_path / "a.tif", save_samples=tmp_path), 0)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="device is 'tpu'; accepted are auto, cpu and cuda"):
        RestoreOptions(device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="no CUDA device is available on this machine; use --device auto"):
        torch_device("cuda")


@pytest.mark.parametrize(
    ("given", "restored", "std"),
    [
        ({}, "d/scene_restored.tif", "d/scene_std.tif"),
        ({"output": Path("e/out.tif")}, "e/out.tif", "e/out_std.tif"),
        ({"output": Path("e/x_restored.tif")}, "e/x_restored.tif", "e/x_std.tif"),
        ({"std": Path("s.tif")}, "d/scene_restored.tif", "s.tif"),
        ({"uncertainty": False}, "d/scene_restored.tif", None),
    ],
)
def test_names_of_the_outputs(given: dict[str, Any], restored: str, std: str | None) -> None:
    paths = ScenePaths(input=Path("d/scene.jp2"), **given)
    assert paths.restored_path == Path(restored)
    assert paths.std_path == (None if std is None else Path(std))


def test_names_of_the_samples() -> None:
    paths = ScenePaths(input=Path("scene.tif"), save_samples=Path("many"))
    assert paths.outputs(2)[2:4] == [Path("many/scene_sample_000.tif"), Path("many/scene_sample_001.tif")]


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = ScenePaths(input=tmp_path / "a.tif", output=tmp_path / "b.tif", std=tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"two outputs have the same name, .*b.tif; choose another --std"):
        check_paths(paths, 0)
