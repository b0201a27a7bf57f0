"""The scripts from a search to an exported model, at toy size."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom

from imaging.superres import Genotype, LatencyTable, SuperResolver, load_network
from imaging.superres.recipes import Recipe

pytest.importorskip("onnxruntime")

RECIPE = """
name = "toy"
family = "superres"
normalisation = "adq"
[space]
bands = 3
scale = 2
channels = 8
cells = 1
head = 1
bits = [8]
[search]
epochs = 2
steps = 2
warmup = 1
border = 2
[data]
train = ["train/*.png"]
validation = ["validation/*.png"]
side = 64
[crops]
batch = 2
crop = 16
[training]
steps = 12
border = 2
[quantised_training]
steps = 4
border = 2
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a script; returns its output."""

    def runner(script: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_module(f"scripts.{script}", run_name="__main__")
        return capsys.readouterr().out

    return runner


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Folder with images and a recipe."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 3), ("validation", 1)):
        (tmp_path / part).mkdir()
        for k in range(count):
            pixels = zoom(rng.random((9, 10, 3)), (8, 8, 1), order=1)
            Image.fromarray((255 * pixels).astype(np.uint8)).save(tmp_path / part / f"{k}.png")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_search_train_export(toy: Path, run: Callable[..., str]) -> None:
    recipe, work, data = toy / "recipe.toml", toy / "run", ("--data", toy, "--device", "cpu")
    run("train.latency", recipe, "--output", toy / "latency.json", "--side", 16, "--runs", 2)
    assert LatencyTable.load(toy / "latency.json").times["8 8 3x3"] > 0
    run("train.search", recipe, *data, "--work", work, "--latency", toy / "latency.json", "--epochs", 1)
    said = run("train.search", recipe, *data, "--work", work, "--latency", toy / "latency.json")
    assert "resumed after epoch 1" in said
    genotype = Genotype.load(work / "genotype.json")
    assert genotype.space == Recipe.parse(RECIPE).space
    assert len(json.loads((work / "history.json").read_text())) == 2
    run("train.search", recipe, "--data", toy, "--work", toy / "random", "--random-like", work / "genotype.json")
    assert Genotype.load(toy / "random" / "genotype.json").space == genotype.space
    run("train.superres", recipe, *data, "--work", work, "--genotype", work / "genotype.json", "--every", 6)
    assert "float: resumed at step 12" in run(
        "train.superres", recipe, *data, "--work", work, "--genotype", work / "genotype.json", "--bits", 4, "--every", 6
    )
    with pytest.raises(SystemExit, match="of another network"):
        run("train.superres", recipe, *data, "--work", work, "--network", "espcn", "--every", 6)
    with pytest.raises(SystemExit, match="with other settings"):
        run("train.search", recipe, *data, "--work", work, "--quantisation", "direct")
    figures = json.loads((work / "figures.json").read_text())
    assert figures["quantised-4"]["bitops"] < 64 * figures["macs"]
    run("release.superres", recipe, "--work", work, "--release", toy / "released")
    network, resolver = load_network(str(toy / "released"), quantised=True), SuperResolver(str(toy / "released"), threads=1)
    assert resolver.manifest.margin == network.margin
    assert resolver(np.random.default_rng(0).random((3, 20, 30))).shape == (3, 40, 60)


def test_layers_of_fewer_bits_are_released_as_they_are(toy: Path, run: Callable[..., str]) -> None:
    recipe, work, data = toy / "recipe.toml", toy / "run", ("--data", toy, "--device", "cpu")
    recipe.write_text(RECIPE.replace("bits = [8]", "bits = [4]") + "[search_crops]\nbatch = 3\ncrop = 12\n")
    assert Recipe.parse(RECIPE).search_crops == Recipe.parse(RECIPE).crops
    assert (Recipe.parse(recipe.read_text()).search_crops.batch, Recipe.parse(recipe.read_text()).crops.batch) == (3, 2)
    run("train.search", recipe, *data, "--work", work, "--epochs", 1)
    run("train.superres", recipe, *data, "--work", work, "--genotype", work / "genotype.json", "--every", 6)
    said = run("release.superres", recipe, "--work", work, "--release", toy / "released")
    assert said.startswith("int8: ")
    network = load_network(str(toy / "released"), quantised=True)
    assert {n.bits for n in network.plan.nodes[1:] if n.kind == "conv"} == {4}
    assert network.plan.bitops() < 64 * network.plan.macs()


def test_hand_made_networks_train_at_several_bits(toy: Path, run: Callable[..., str]) -> None:
    arguments = ("--data", toy, "--device", "cpu", "--work", toy / "run", "--network", "fsrcnn", "--bits", 8, 4, "--every", 6)
    run("train.superres", toy / "recipe.toml", *arguments)
    assert {p.name for p in (toy / "run").glob("*.safetensors")} == {
        "float.safetensors",
        "quantised-8.safetensors",
        "quantised-4.safetensors",
    }
