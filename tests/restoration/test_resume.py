"""Interrupted runs go on from their finished tiles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imaging.errors import InputError
from imaging.priors import load_prior
from imaging.priors.zoo import save_prior
from imaging.restoration.fitting import Fitter
from imaging.sensors import load_profile
from tests.scenes import fit, listing, smooth, write_scene

Count = Callable[[int | None], list[int]]
WIDER = replace(load_profile("pleiades-raw"), bits=13)
NOISIER = load_profile("pleiades-raw").with_overrides(noise=(9.0, 0.1))


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts fits from now on, and interrupts instead of the one after ``stop``."""
    original = Fitter.__call__

    def start(stop: int | None = None) -> list[int]:
        calls: list[int] = []

        def counted(self: Fitter, *arguments: Any) -> Any:
            if len(calls) == stop:
                raise KeyboardInterrupt
            calls.append(len(calls))
            return original(self, *arguments)

        monkeypatch.setattr(Fitter, "__call__", counted)
        return calls

    return start


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two by two tiles."""
    return write_scene(tmp_path / "scene.tif", smooth(1, 128, 128).astype(np.uint16))


def interrupt(scene: Path, prior: Path, count: Count, **changes: Any) -> None:
    calls = count(2)
    with pytest.raises(KeyboardInterrupt):
        fit(scene, prior, **changes)
    assert len(calls) == 2
    assert sorted(p.name for p in scene.parent.iterdir()) == [".scene_restored.tif.partial", "scene.tif"]


def test_a_resumed_run_fits_the_rest_and_gives_the_same_bytes(scene: Path, tiny_prior: Path, count: Count) -> None:
    fit(scene, tiny_prior)
    whole = listing(scene.parent)
    for name in ("scene_restored.tif", "scene_std.tif", "scene_std.qml"):
        (scene.parent / name).unlink()
    interrupt(scene, tiny_prior, count)
    calls = count(None)
    fit(scene, tiny_prior, resume=True)
    assert len(calls) == 2
    assert listing(scene.parent) == whole


def test_without_resume_an_old_run_is_discarded(scene: Path, tiny_prior: Path, count: Count) -> None:
    interrupt(scene, tiny_prior, count)
    calls = count(None)
    fit(scene, tiny_prior)
    assert len(calls) == 4
    assert sorted(listing(scene.parent)) == ["scene.tif", "scene_restored.tif", "scene_std.qml", "scene_std.tif"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"iterations": 3},
        {"sensor": "spot6"},
        {"sensor": WIDER},
        {"sensor": NOISIER},
        {"uncertainty": False},
        {"noise": (5.0, 0.1)},
    ],
)
def test_other_settings_are_refused_and_the_old_run_kept(scene: Path, tiny_prior: Path, count: Count, changes: dict[str, Any]) -> None:
    interrupt(scene, tiny_prior, count)
    before, calls = listing(scene.parent), count(None)
    with pytest.raises(InputError, match="was begun with other settings or another input; run without --resume to start afresh"):
        fit(scene, tiny_prior, resume=True, **changes)
    assert calls == []
    assert listing(scene.parent) == before


def test_another_input_under_the_same_name_is_refused(scene: Path, tiny_prior: Path, count: Count) -> None:
    interrupt(scene, tiny_prior, count)
    write_scene(scene, smooth(1, 128, 128, seed=1).astype(np.uint16))
    with pytest.raises(InputError, match="other settings or another input"):
        fit(scene, tiny_prior, resume=True)


def test_other_weights_under_the_same_name_are_refused(
    scene: Path, tiny_prior: Path, count: Count, tmp_path_factory: pytest.TempPathFactory
) -> None:  # fmt: skip
    folder = shutil.copytree(tiny_prior, tmp_path_factory.mktemp("zoo") / "mine")
    interrupt(scene, folder, count)
    model = load_prior(str(folder))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    save_prior(model, folder, (folder / "recipe.toml").read_text(encoding="utf-8"))
    count(None)
    with pytest.raises(InputError, match="other settings or another input"):
        fit(scene, folder, resume=True)


def test_another_batch_may_resume(scene: Path, tiny_prior: Path, count: Count) -> None:
    interrupt(scene, tiny_prior, count)
    calls = count(None)
    fit(scene, tiny_prior, resume=True, batch=2)
    assert len(calls) == 1
