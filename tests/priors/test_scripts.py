"""The scripts around priors, run as a user would, on images of a few pixels."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imaging.priors import load_prior
from tests.scenes import smooth

RECIPE = """
name = "mine"
family = "lapped"
[model]
channels = 3
width = 16
blocks = 1
fine = 8
fine_blocks = 1
hyper = 8
hidden = 16
[data]
train = ["train/*.png"]
validation = ["val/*.png"]
validation_count = 1
[training]
steps = 4
batch = 2
crop = 64
std_share = 0.5
"""


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_module(f"scripts.train.{script}", run_name="__main__")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of two training images and one for validation, and a recipe."""
    for name, size in (("train/a", 80), ("train/b", 96), ("val/c", 256)):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis((smooth(3, size, size) / 16).astype(np.uint8), 0, 2)).save(path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_pack_train_release_and_continue(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = data / "recipe.toml"
    run(monkeypatch, "pack", recipe, "--data", data / "data", "--output", data / "pack.npz")
    common = ("--device", "cpu", "--release")
    run(monkeypatch, "prior", recipe, "--data", data / "data", "--work", data / "one", *common, data / "one" / "mine")
    run(monkeypatch, "prior", recipe, "--data", data / "pack.npz", "--work", data / "two", *common, data / "two" / "mine")
    # The pack holds the same images: the same training, to the bit.
    first, second = ((data / n / "mine" / "weights.safetensors").read_bytes() for n in ("one", "two"))
    assert first == second
    prior = load_prior(str(data / "one" / "mine"))
    assert prior.channels == 3
    capsys.readouterr()
    further = ("--continue", data / "one" / "mine", "--minutes", "0.001", "--data", data / "data", "--work", data / "three")
    run(monkeypatch, "prior", *further, *common, data / "three" / "mine")
    assert "starts with the weights of" in capsys.readouterr().out
    moved = load_prior(str(data / "three" / "mine"))
    assert torch.allclose(moved.analysis.weight, prior.analysis.weight, atol=0.01)


def test_a_recipe_or_a_model_is_needed(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "prior", "--data", data / "data", "--work", data / "one")
    assert "give either a recipe or --continue MODEL" in capsys.readouterr().err
