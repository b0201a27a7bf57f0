"""Recipes that were tampered with: one sentence that names the file and the key, whatever stands where."""

from __future__ import annotations

import json
import math
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from imaging.amortised import load_limits, load_network, save_network
from imaging.amortised.sensors import SensorRanges
from imaging.bilevel import (
    FieldOfExperts,
    PatchSettings,
    RidgeRegularizer,
    StochasticSettings,
    TotalVariation,
    load_regularizer,
    save_regularizer,
)
from imaging.errors import InputError
from imaging.priors import load_prior
from imaging.priors.families import make_prior
from imaging.priors.zoo import save_prior
from imaging.releases import Table, read_recipe
from imaging.superres import SearchSettings, SearchSpace, SuperResolver
from imaging.superres import load_network as load_resolver
from imaging.superres.data import CropSettings, Degradation
from imaging.training import TrainingSettings
from tests.amortised import networks
from tests.superres import models

BAD: dict[str, Any] = {
    "text": "many", "negative": -1, "zero": 0, "huge": 10**9, "fraction": 0.5, "not a number": math.nan, "infinite": math.inf,
    "truth": True, "list": [1, 2, 3], "long list": [1] * 3000, "nested list": [[1, "a"]], "empty list": [], "table": {"a": 1},
    "missing": None,
}  # fmt: skip
MEASURED = "[calibration]\nlatent_variance = 0.9\n[conformal]\nscenes = 20\nlevel_90 = 1.9\n"


def toml(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def written(table: dict[str, Any]) -> str:
    return "".join(f"{k} = {toml(v)}\n" for k, v in table.items() if v is not None)


def head(family: str, model: dict[str, Any], **more: Any) -> str:
    return written({"name": "t", "title": "a model", "family": family, **more, "model": model})


def prior(family: str, folder: Path) -> None:
    sizes: dict[str, dict[str, Any]] = {
        "lapped": {"channels": 1, "width": 8, "blocks": 1, "fine": 4, "fine_blocks": 1, "hyper": 4, "hidden": 8, "context_blocks": 1},
        "vae": {"channels": 1, "width": 8, "blocks": 1, "fine": 4},
        "mbt": {"channels": 1, "alpha": 0.1, "hidden": 4, "latents": 6, "replicated": False, "spread": True},
    }  # fmt: skip
    if family == "mbt":
        pytest.importorskip("compressai")
    save_prior(make_prior(family, dict(sizes[family])), folder, head(family, sizes[family], bands=["pan"]))
    (folder / "recipe.toml").write_text((folder / "recipe.toml").read_text() + MEASURED)
    load_prior(str(folder))


def network(folder: Path) -> None:
    recipe = head("amortised", {"channels": 1, "widths": [8, 8, 8], "blocks": [1, 1, 1]}, bands=["pan"])
    save_network(networks.tiny(), folder, recipe, measured={"limits": {"snr": [1.0, 2.0]}})
    (folder / "recipe.toml").write_text((folder / "recipe.toml").read_text() + "[calibration]\ndeviation = 0.9\n")


def regularizer(family: str, folder: Path) -> None:
    tables: dict[str, tuple[Any, dict[str, Any]]] = {
        "tv": (TotalVariation, {"isotropic": True, "exponent": 1.33}),
        "foe": (FieldOfExperts, {"filters": 3, "kernel": 3, "exponent": 1.33}),
        "ridge": (RidgeRegularizer, {"weak": 0.5, "widths": [3, 6], "kernel": 3, "nodes": 10, "reach": 2.0, "steepest": 60.0}),
    }  # fmt: skip
    kind, table = tables[family]
    made = kind(**table)
    save_regularizer(made, made.start(), folder, head(family, table))
    (folder / "recipe.toml").write_text((folder / "recipe.toml").read_text() + "[restoration]\nweight = 0.5\n")


def resolve(folder: str) -> None:
    SuperResolver(folder, threads=1)
    for quantised in (False, True):
        load_resolver(folder, quantised=quantised)


def whole_network(folder: str) -> None:
    load_network(folder)
    load_limits(Path(folder))


KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[str], Any]]] = {
    **{f: ((lambda p, f=f: prior(f, p)), load_prior) for f in ("lapped", "vae", "mbt")},
    **{f: ((lambda p, f=f: regularizer(f, p)), load_regularizer) for f in ("tv", "foe", "ridge")},
    "amortised": (network, whole_network),
    "superres": (models.release, resolve),
}


def tampered(table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The recipe with each key, of each table too, replaced by what it should not be, and with a key too many."""
    for key, value in table.items():
        for bad in BAD.values():
            yield key, table | {key: bad}
        if isinstance(value, dict):
            for inner, changed in tampered(value):
                yield inner, table | {key: changed}
    yield "", table | {"unheard_of": 1}


def refusal(load: Callable[[], Any]) -> str:
    """What was said of a recipe, empty where it was taken; anything but an `InputError` goes through."""
    try:
        load()
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tampered_recipe_is_one_sentence(kind: str, folders: Path, tmp_path: Path) -> None:
    make, load = KINDS[kind]
    make(folders / kind)
    folder = Path(shutil.copytree(folders / kind, tmp_path / "model"))
    recipe = dict(read_recipe(folder).values)
    load(str(folder))
    refused = 0
    for key, changed in tampered(recipe):
        (folder / "recipe.toml").write_text(written(changed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of torch, for layers without weights
            said = refusal(lambda: load(str(folder)))
        refused += bool(said)
        assert not said or (str(folder) in said and "\n" not in said and len(said) < 500), key
        assert not said or any(w in said for w in (key, ".safetensors", "nothing can be made from [model]"))
    assert refused > 40


def test_memory_is_asked_for_only_within_limits(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior("lapped", tmp_path / "m")
    text = (tmp_path / "m" / "recipe.toml").read_text()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("made")

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", never)
    for key in ("width", "blocks", "hidden", "channels"):
        (tmp_path / "m" / "recipe.toml").write_text(re.sub(rf"\b{key} = \d+", f"{key} = 5000", text))
        with pytest.raises(InputError, match=rf"recipe\.toml: {key} in \[model\] is 5000; accepted are"):
            load_prior(str(tmp_path / "m"))


TABLES: dict[str, tuple[Any, dict[str, Any]]] = {
    "patches": (PatchSettings, {"batch": 3, "crop": 24, "border": 4, "noise": [5.0, 30.0], "gain": [0.3, 1.2], "shrink": 0.3, "seed": 1}),
    "learning": (StochasticSettings, {"steps": 5, "rates": {"all": 0.1}, "limits": {"scales": [0.0, 1.0]}, "even": True, "recall": 2}),
    "space": (SearchSpace, {"kind": "basic", "bands": 1, "scale": 2, "channels": 8, "bits": [4, 8], "operations": {"tail": ["3x3"]}}),
    "training": (TrainingSettings, {"minutes": 1, "batch": 2, "crop": 64, "warmup": 2, "gain": [0.3, 1.2], "haze": 0.1, "seed": 1}),
    "sensors": (SensorRanges, {"nyquist": [0.1, 0.2], "shapes": [1, 0, 0, 0, 0], "snr": [10.0, 20.0], "double": 0.5, "holes": 0.1}),
    "crops": (CropSettings, {"batch": 2, "crop": 16, "gain": [0.3, 1.2], "exponent": [1.0, 1.0]}),
    "degradation": (Degradation, {"kind": "sensor", "mtf": [0.3, 0.7], "noise": [0.0, 0.5], "levels": 255}),
    "search": (SearchSettings, {"epochs": 2, "steps": 2, "warmup": 1, "penalty": 1e-3, "seed": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_tampered_table_is_one_sentence(name: str) -> None:
    kind, table = TABLES[name]
    assert isinstance(Table({name: table}).under(name).make(kind), kind)
    refused = 0
    for _, changed in tampered(table):
        given = {k: v for k, v in changed.items() if v is not None}
        said = refusal(lambda given=given: Table({name: given}, "r.toml").under(name).make(kind))
        refused += bool(said)
        assert not said or (said.startswith("r.toml: ") and name in said and "\n" not in said)
    assert refused > 5 * len(table)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_none_is_refused(name: str) -> None:
    for value in ("many", 1, [1]):
        with pytest.raises(InputError, match=rf"r.toml: {name} is .*; accepted are tables"):
            Table({name: value}, "r.toml").under(name)


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    for text in (b"a = ", b"\xff\xfe", b"a = [" * 5000, b"a = " + b"9" * 5000):
        (tmp_path / "recipe.toml").write_bytes(text)
        with pytest.raises(InputError, match=r"its recipe.toml cannot be read"):
            read_recipe(tmp_path)
