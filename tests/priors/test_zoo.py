"""The model zoo: round trip, and one sentence for each way in which a model folder can be broken."""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imaging.errors import InputError
from imaging.priors import list_priors, load_prior, zoo
from imaging.priors.state import is_constant
from imaging.priors.zoo import save_prior
from imaging.releases import PRIOR_ZOO
from tests.priors.models import tiny


@pytest.fixture
def folder(tiny_prior: Path, tmp_path: Path) -> Path:
    """A copy of a released prior, to be broken."""
    return Path(shutil.copytree(tiny_prior, tmp_path / "model"))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "recipe.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def reseal(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights and record their new digest."""
    path = folder / "weights.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    recipe = (folder / "recipe.toml").read_text(encoding="utf-8")
    (folder / "recipe.toml").write_text(re.sub(r'sha256 = "\w+"', f'sha256 = "{digest}"', recipe), encoding="utf-8")


def test_release_and_load_are_inverse_up_to_rounding(tmp_path: Path) -> None:
    model = tiny(3, seed=4)
    recipe = 'name = "t"\nfamily = "lapped"\n[model]\n' + "\n".join(f"{k} = {v}" for k, v in model.settings.items()) + "\n"
    digest = save_prior(model, tmp_path / "t", recipe, {"steps": 12_345_678, "device": "cpu"})
    loaded = load_prior(str(tmp_path / "t"))
    assert digest == hashlib.sha256((tmp_path / "t" / "weights.safetensors").read_bytes()).hexdigest()
    assert loaded.channels == 3
    assert not loaded.training
    found, constants, rounded = loaded.state_dict(), 0, set()
    stored = load_file(tmp_path / "t" / "weights.safetensors")
    for key, value in model.state_dict().items():
        constants += is_constant(key)
        if key in stored and stored[key].dtype == torch.int8:
            step = value.abs().amax((1, 2, 3), keepdim=True) / 127
            assert float(((found[key] - value).abs() / step).max()) <= 0.501
            rounded.add(key.split(".")[0])
        else:
            assert torch.equal(found[key], value if is_constant(key) else value.half().float())
        assert is_constant(key) or found[key].dtype == torch.float32
    assert constants < len(found) / 4
    assert rounded >= {"decoder", "hyper_encoder", "hyper_decoder", "context"}
    assert not rounded & {"analysis", "synthesis", "encoder"}
    assert stored["decoder.0.weight"].dtype == torch.float16
    assert not any(p.requires_grad for p in loaded.parameters())
    released = tomllib.loads((tmp_path / "t" / "recipe.toml").read_text(encoding="utf-8"))["release"]
    assert released == {"sha256": digest, "parameters": sum(p.numel() for p in model.parameters()), "steps": 12_345_678, "device": "cpu"}


def test_a_joint_prior_is_chosen_for_just_its_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, bands in (("duo", ["red", "nir"]), ("trio", ["red", "green", "blue"])):
        model = tiny(len(bands))
        settings = "".join(f"{k} = {v}\n" for k, v in model.settings.items())
        save_prior(model, tmp_path / name, f'name = "{name}"\nfamily = "lapped"\nbands = {bands}\n\n[model]\n{settings}')
    monkeypatch.setattr("imaging.releases.zoo.zoo_folder", lambda: tmp_path)
    assert zoo.choose_prior(["nir", "red"]) == "duo"
    assert zoo.choose_prior(["blue", "green", "red"]) == "trio"
    assert zoo.choose_prior(["blue", "green", "red", "nir"]) == zoo.DEFAULT_PRIOR
    assert zoo.choose_prior([None, None]) == zoo.DEFAULT_PRIOR
    assert zoo.choose_prior(["pan"]) == zoo.DEFAULT_PRIOR
    assert load_prior("trio").bands == ("red", "green", "blue")
    edit(tmp_path / "duo", "['red', 'nir']", "['red']")
    with pytest.raises(InputError, match=r"bands is \['red'\]; accepted are as many common names"):
        PRIOR_ZOO.info(tmp_path / "duo")


def test_second_release_replaces_the_first(folder: Path) -> None:
    recipe = (folder / "recipe.toml").read_text(encoding="utf-8")
    digest = save_prior(tiny(seed=9), folder, recipe.replace("context_blocks = 0", "context_blocks = 1"))
    assert PRIOR_ZOO.info(folder).digest == digest
    assert (folder / "recipe.toml").read_text(encoding="utf-8").count("[release]") == 1
    load_prior(str(folder))


def test_zoo_lists_and_loads_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging.releases.zoo.zoo_folder", lambda: folder.parent)
    (unfinished := folder.parent / "unfinished").mkdir()
    shutil.copy(folder / "recipe.toml", unfinished)
    assert [(p.name, p.title, p.channels, p.folder) for p in list_priors()] == [("tiny", "random weights", 1, folder)]
    assert torch.equal(load_prior("tiny").analysis.weight, load_prior(str(folder)).analysis.weight)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="unknown prior 'tinny'; did you mean tiny"):
        load_prior("tinny")


def flip_a_byte(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def truncate(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def sealed_nonsense(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(b"nonsense")
    edit(folder, PRIOR_ZOO.info(folder).digest, hashlib.sha256(b"nonsense").hexdigest())


BROKEN = {
    "one byte changed": (flip_a_byte, "weights.safetensors is damaged: its SHA-256 starts with"),
    "truncated": (truncate, "weights.safetensors is damaged"),
    "no safetensors": (sealed_nonsense, "is not a safetensors file"),
    "weights gone": (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors cannot be read"),
    "recipe gone": (lambda f: (f / "recipe.toml").unlink(), "is not a model folder: its recipe.toml cannot be read"),
    "recipe broken": (lambda f: (f / "recipe.toml").write_text("name ="), "is not a model folder: its recipe.toml cannot be read"),
    "missing key": (
        lambda f: reseal(f, lambda s: s.pop("encoder.0.bias")),
        "weight encoder.0.bias is missing, unknown",
    ),
    "extra key": (lambda f: reseal(f, lambda s: s.update(extra=torch.ones(1))), "weight extra is missing, unknown"),
    "wrong shape": (
        lambda f: reseal(f, lambda s: s.update({"head.bias": torch.zeros(3)})),
        "weight head.bias is missing, unknown or of another shape",
    ),
    "other size": (lambda f: edit(f, "width = 16", "width = 24"), "does not fit its recipe: weight"),
    "no release": (
        lambda f: edit(f, "[release]", "[released]"),
        "has no sha256 in [release]: weights.safetensors, which was not released, cannot be checked",
    ),
    "unknown family": (lambda f: edit(f, '"lapped"', '"wavelet"'), "family is 'wavelet'; accepted are lapped"),
    "no family": (lambda f: edit(f, 'family = "lapped"', ""), "family is None; accepted are lapped"),
    "no name": (lambda f: edit(f, 'name = "tiny"', ""), "recipe.toml lacks name; accepted are texts"),
    "no channels": (lambda f: edit(f, "channels = 1", ""), "recipe.toml lacks channels in [model]"),
    "unknown setting": (lambda f: edit(f, "width = 16", "widht = 16"), "unknown key 'widht' in [model]; did you mean width?"),
    "impossible setting": (lambda f: edit(f, "alpha = 0.18", "alpha = -1.0"), "nothing can be made from [model]"),
    "text setting": (lambda f: edit(f, "width = 16", 'width = "wide"'), "width in [model] is 'wide'; accepted are whole numbers"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folder_gets_one_sentence(folder: Path, case: str) -> None:
    damage, said = BROKEN[case]
    damage(folder)
    with pytest.raises(InputError) as caught:
        load_prior(str(folder))
    message = str(caught.value)
    assert said in message
    assert str(folder) in message
    assert "\n" not in message


def test_each_released_model_has_a_card_and_the_zoo_stays_small() -> None:
    folders = [p.folder for p in list_priors()]
    assert folders
    for folder in folders:
        assert (folder / "card.md").exists()
    assert sum(f.stat().st_size for folder in folders for f in folder.iterdir()) < 58e6
