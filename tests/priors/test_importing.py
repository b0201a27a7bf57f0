"""Checkpoints in published layouts, made here, become the same model; what is none is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from imaging.errors import InputError
from imaging.priors import load_prior
from imaging.priors.compressai_zoo import cached_file
from imaging.priors.importing import convert, read_checkpoint
from imaging.priors.zoo import find_prior

models = pytest.importorskip("compressai.models")

from imaging.priors.published import JointAutoencoder  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "scripts.release.import_checkpoint"]


def network(cls: str = "JointAutoregressiveHierarchicalPriors", *sizes: int) -> Any:
    torch.manual_seed(3)
    return getattr(models, cls)(*(sizes or (8, 12))).eval()


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As compressai wrote them before 1.2.5, from a model trained in parallel."""
    single = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}
    renamed = {}
    for key, value in state.items():
        for new, old in single.items():
            key = key.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{old}")
        renamed["module." + key] = value
    return renamed


def older_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As compressai wrote them before 1.2: parameter lists with an underscore."""
    return {
        k.replace(".matrices.", "._matrices.").replace(".biases.", "._biases.").replace(".factors.", "._factors."): v
        for k, v in state.items()
    }


def with_deviations(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As VBLE-xz writes them: a second decoder and the logarithm of gamma."""
    second = {k.replace("g_s.", "variance_decoder.", 1): v + 0.01 for k, v in state.items() if k.startswith("g_s.")}
    return state | second | {"log_gamma": torch.tensor([-4.0])}


def tables_of_bit_streams(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the tables that ``update`` makes before real compression."""
    return state | {"entropy_bottleneck._quantized_cdf": torch.zeros(8, 30, dtype=torch.int32)}


@pytest.mark.parametrize("layout", [dict, old_names, older_names, tables_of_bit_streams])
@pytest.mark.parametrize("wrapped", [True, False])
def test_layouts_of_compressai(layout: Callable[..., dict[str, Tensor]], wrapped: bool, tmp_path: Path) -> None:
    theirs = network()
    state = layout(theirs.state_dict())
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "x.pth.tar")
    found = convert(read_checkpoint(tmp_path / "x.pth.tar"), "x", alpha=0.0483)
    assert found.family == "mbt"
    assert found.settings == {"channels": 3, "alpha": 0.0483, "hidden": 8, "latents": 12, "replicated": False, "spread": False}
    for key, value in found.model.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), key


@pytest.mark.parametrize(
    ("cls", "sizes", "family"),
    [("MeanScaleHyperprior", (8, 12), "mean-scale"), ("FactorizedPrior", (8, 12), "factorized"), ("Cheng2020Attention", (8,), "cheng")],
)
def test_families_are_told_by_their_weights(cls: str, sizes: tuple[int, ...], family: str) -> None:
    theirs = network(cls, *sizes)
    found = convert(theirs.state_dict(), "x", alpha=0.1)
    assert found.family == family
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(found.model.decode(found.model.encode(x).z), theirs.g_s(theirs.g_a(x)))


def test_second_decoder_and_gamma_of_vble_xz() -> None:
    theirs = network()
    found = convert(with_deviations(theirs.state_dict()), "x", panchromatic=True)
    assert found.settings["spread"]
    assert found.settings["replicated"]
    assert found.model.channels == 1
    assert found.model.gamma == pytest.approx(torch.tensor(-4.0).exp().item(), rel=1e-6)
    z = torch.randn(1, 12, 4, 4)
    second = network()
    with torch.no_grad():
        for parameter in second.g_s.parameters():
            parameter += 0.01
        expected = (torch.sigmoid(second.g_s(z)) + 2e-4).mean(1, keepdim=True)
        torch.testing.assert_close(found.model.decode_std(z), expected)


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


def broken(kind: str, path: Path) -> None:
    if kind == "text":
        path.write_text("hello")
    elif kind == "code":
        path.write_bytes(pickle.dumps({"state_dict": Evil()}))
    elif kind == "numbers":
        torch.save({"state_dict": {"a": 3}}, path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("missing", "there is no file"), ("text", "no PyTorch checkpoint of tensors alone"),
     ("code", "no PyTorch checkpoint of tensors alone"), ("numbers", "holds no state dict of tensors")],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(kind: str, message: str, tmp_path: Path) -> None:
    broken(kind, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("cls", "sizes", "message"),
    [("ScaleHyperprior", (8, 12), "scale hyperprior without means"), ("Cheng2020Anchor", (8,), "without attention"),
     ("FactorizedPriorReLU", (8, 12), "g_a.1.beta is missing")],
)  # fmt: skip
def test_other_models_of_compressai_are_named(cls: str, sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(network(cls, *sizes).state_dict(), "x", alpha=0.1)


def test_unknown_layouts_and_lacking_facts_are_named() -> None:
    state = network().state_dict()
    with pytest.raises(InputError, match="none of the known layouts"):
        convert({"encoder.0.weight": torch.zeros(1)}, "x", alpha=0.1)
    with pytest.raises(InputError, match="does not say at which rate"):
        convert(state, "x")
    with pytest.raises(InputError, match=r"weight h_a\.2\.bias is missing"):
        convert({k: v for k, v in state.items() if k != "h_a.2.bias"}, "x", alpha=0.1)
    with pytest.raises(InputError, match=r"weight extra is missing, unknown or of another shape"):
        convert(state | {"extra": torch.zeros(1)}, "x", alpha=0.1)


def test_script_writes_a_model_folder_that_loads(tmp_path: Path) -> None:
    theirs = network()
    torch.save({"state_dict": with_deviations(theirs.state_dict())}, tmp_path / "x.pth.tar")
    command = [*COMMAND, str(tmp_path / "x.pth.tar"), "--output", str(tmp_path / "pan-x"), "--panchromatic"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = load_prior(str(tmp_path / "pan-x"))
    assert isinstance(loaded, JointAutoencoder)
    assert find_prior(str(tmp_path / "pan-x")).channels == 1
    assert torch.equal(loaded.g_s[0].weight, theirs.g_s[0].weight)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert again.stderr.strip().splitlines()[-1] == f"Error: {tmp_path / 'pan-x'} exists; choose another --output"


def test_models_of_compressai_load_by_name_from_the_hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"compressai:mbt2018-mean-1 is not on this machine; allow its download with --download"):
        load_prior("compressai:mbt2018-mean-1")
    (tmp_path / "checkpoints").mkdir()
    theirs = network("MeanScaleHyperprior", 8, 12)
    from compressai.zoo.image import model_urls

    name = Path(model_urls["mbt2018-mean"]["mse"][1]).name
    torch.save(old_names(theirs.state_dict()), tmp_path / "checkpoints" / name)
    model = load_prior("compressai:mbt2018-mean-1")
    assert torch.equal(model.g_s[6].weight, theirs.g_s[6].weight)
    assert model.settings["alpha"] == 0.0018
    info = find_prior("compressai:mbt2018-mean-1")
    assert (info.name, info.channels, len(info.digest)) == ("compressai:mbt2018-mean-1", 3, 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [("compressai:mbt2018-mean-9", "qualities 1 to 8"), ("compressai:cheng2020-attn-7", "qualities 1 to 6"),
     ("compressai:mbt", "unknown prior 'compressai:mbt'"), ("compressai:elic-3", "unknown prior")],
)  # fmt: skip
def test_unknown_models_of_compressai_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cached_file(name)


def test_a_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(InputError, match=r"compressai:mbt2018-8 could not be downloaded from https://.*: no network"):
        load_prior("compressai:mbt2018-8", download=True)
    assert not any(p.is_file() for p in tmp_path.rglob("*"))
