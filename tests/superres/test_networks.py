"""Derived networks: folding, quantisation, export, and what they may not depend on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from imaging.superres import Genotype, Network, SearchSpace, Training, TrainingSettings, blueprint, super_resolve
from imaging.superres.data import Degradation, luma, psnr
from imaging.superres.export import FLOAT_ENDS, to_onnx
from imaging.superres.handmade import HANDMADE, at_bits
from imaging.superres.interpolation import Consistency, Interpolation
from tests.superres.models import pairs, quantised, tiny_space

ort = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation_is_bicubic(scale: int) -> None:
    x, m = torch.rand(1, 2, 14, 17), 3 * scale
    ours = F.pixel_shuffle(Interpolation(2, scale)(x), scale)
    theirs = F.interpolate(x, scale_factor=scale, mode="bicubic", antialias=True)
    torch.testing.assert_close(ours[..., m:-m, m:-m], theirs[..., m:-m, m:-m], atol=3e-6, rtol=0)


def test_result_has_the_low_frequencies_of_its_input() -> None:
    drawn = torch.rand(1, 5, 96, 96, generator=torch.Generator().manual_seed(0))
    x, fine = drawn[:, :1], drawn[:, 1:]
    found = Consistency(1, 2)(x, fine)
    before, after = (F.avg_pool2d(f.mean(1) - x[:, 0], 32)[..., 1:-1, 1:-1].abs().max() for f in (fine + 0.3, found))
    assert float(before) > 0.25
    assert float(after) < 0.01 * float(before)


@pytest.mark.parametrize("normalisation", ["adq", "adadm", "batch", "none"])
@pytest.mark.parametrize("kind", ["basic", "rfdn"])
def test_folding_changes_nothing(kind: str, normalisation: str) -> None:
    torch.manual_seed(0)
    network = Network(blueprint(Genotype.random(SearchSpace(kind=kind, channels=16, cells=2, tail=1), 5), normalisation))
    for _ in range(20):
        network(torch.rand(2, 3, 12, 12))
    network.eval()
    x = torch.rand(1, 3, 15, 11)
    before = network(x)
    torch.testing.assert_close(network.fold()(x), before, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("kind", ["basic", "rfdn"])
def test_no_pixel_depends_on_its_tile(kind: str) -> None:
    """Crops of a whole result equal results of crops, to the bit where integers decide, on sides that are not equal."""
    network, _ = quantised(tiny_space(kind=kind, tail=1, bands=3, scale=2), 4)
    x = F.avg_pool2d(torch.rand(1, 3, 90, 71, generator=torch.Generator().manual_seed(8)), 3, 1, 1)
    m, f = network.margin, 2
    with torch.no_grad():
        whole = super_resolve(network, x, m, f)
        padded = F.pad(x, (m,) * 4, mode="reflect")
        part = network(padded[..., 20 : 20 + 33 + 2 * m, 11 : 11 + 26 + 2 * m])[..., f * m : -f * m, f * m : -f * m]
    torch.testing.assert_close(part, whole[..., 40 : 40 + 66, 22 : 22 + 52], atol=2e-6, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["basic", "rfdn"])
def test_exported_integers_agree_with_the_trained_network(kind: str, seed: int) -> None:
    network, x = quantised(SearchSpace(kind=kind, channels=16, cells=2, tail=seed % 2, bits=(8,)), seed)
    with torch.no_grad():
        wanted = network(x).numpy()
    found = run(to_onnx(network, quantised=True).SerializeToString(), x)
    difference = 255 * np.abs(found - wanted)
    assert difference.max() <= (2 if kind == "rfdn" else 1e-3)  # sums of branches have ties of their own
    assert difference.mean() <= 0.1
    with torch.no_grad():
        plain = Network(network.plan).fold()
        plain.load_state_dict({k: v for k, v in network.state_dict().items() if k in plain.state_dict()})
        wanted = plain.eval()(x).numpy()
    np.testing.assert_allclose(run(to_onnx(plain, quantised=False).SerializeToString(), x), wanted, atol=2e-5)


def run(model: bytes, x: torch.Tensor) -> np.ndarray:
    """What ONNX Runtime makes of an image."""
    found: np.ndarray = session(model).run(None, {"input": x.numpy()})[0]
    return found


def session(model: bytes, optimised: Path | None = None) -> object:
    """A session on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", ["basic", "rfdn", *sorted(HANDMADE)])
def test_all_convolutions_but_the_float_ends_are_integer(name: str, tmp_path: Path) -> None:
    import onnx

    if name in HANDMADE:
        network = Network(HANDMADE[name](3, 2)).quantise([torch.rand(1, 3, 16, 16)]).eval()
    else:
        network, _ = quantised(SearchSpace(kind=name, channels=16, cells=1, scale=2, bits=(8,)), 2)
    session(to_onnx(network, quantised=True).SerializeToString(), tmp_path / "optimised.onnx")
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    count = Counter(n.op_type for n in nodes)
    convolutions = sum(n.kind == "conv" for n in network.plan.nodes)
    assert count["Conv"] == len(FLOAT_ENDS) + 1
    assert count["QLinearConv"] >= convolutions - 1
    adds = sum(n.kind == "add" and not n.fine for n in network.plan.nodes)
    assert count["QLinearAdd"] == adds
    first = network.plan.nodes[0].name
    floats = {n.name for n in nodes if n.op_type == "Conv"}
    assert all(any(f.startswith(e) for e in (*FLOAT_ENDS, first)) for f in floats), floats


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_fewer_bits_have_fewer_levels(bits: int) -> None:
    network = Network(at_bits(HANDMADE["espcn"](1, 2), bits)).quantise([torch.rand(1, 1, 16, 16)]).eval()
    seen: dict[str, torch.Tensor] = {}
    network.residual(torch.rand(1, 1, 40, 40), seen)
    assert len(seen["first"].unique()) <= 2**bits
    assert len(seen["upsample"].unique()) > 2**bits
    kernel = network.unit("second").weight()
    assert max(len(k.unique()) for k in kernel) <= 2**bits


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["chain", "basic", "rfdn"])
def test_mixed_bits_run_in_integer_kernels(kind: str, seed: int, tmp_path: Path) -> None:
    """Each layer has the levels of its own bits, and all of them are those of the network in torch.

    Only the sums of a distillation cell's branches have ties that are rounded otherwise; each moves a level, and all that lies behind.
    """
    import onnx

    family = {"kind": "basic", "cells": 0, "head": 5} if kind == "chain" else {"kind": kind, "cells": 2}
    network, x = quantised(SearchSpace(channels=16, bits=(2, 4, 8), **family), seed, bits=None)  # type: ignore[arg-type]
    model = to_onnx(network, quantised=True).SerializeToString()
    with torch.no_grad():
        difference = 255 * np.abs(run(model, x) - network(x).numpy())
    assert (np.median(difference) if kind == "rfdn" else difference.max()) <= 1e-3
    session(model, tmp_path / "optimised.onnx")
    count = Counter(n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert count["Conv"] == len(FLOAT_ENDS) + 1
    low = [n for n in network.plan.nodes if n.kind == "conv" and n.bits < 8]
    limits = sum(network.plan.bits_of(n.name) < 8 for n in network.plan.nodes) + sum(network.unit(n.name).of_input is not None for n in low)
    assert count["Clip"] == limits > 0


def test_a_float_network_must_be_folded_and_an_integer_one_quantised() -> None:
    with pytest.raises(ValueError, match="not quantised"):
        to_onnx(Network(HANDMADE["espcn"](1, 2)), quantised=True)
    with pytest.raises(ValueError, match="not folded"):
        to_onnx(Network(blueprint(Genotype.random(tiny_space(), 0), "adq")), quantised=False)


def test_training_learns_resumes_and_quantises() -> None:
    torch.manual_seed(0)
    network = Network(blueprint(Genotype.random(tiny_space(), 2), "adq"))
    training, data = Training(network, TrainingSettings(steps=60, rate=3e-3, border=2)), pairs()
    losses = [f["loss"] for f in training.run(data, 20)]
    assert losses[-1] < losses[0]
    other = Training(Network(network.plan), TrainingSettings(steps=60, border=2))
    other.load_state_dict(training.state_dict())
    assert other.step == 60
    assert list(other.run(data)) == []
    x, _ = data.draw()
    torch.testing.assert_close(other.average(x), training.average(x))
    aware = training.average.quantise([x])
    assert aware.quantised
    before = {n: p.clone() for n, p in aware.named_parameters() if "log_step" in n}
    list(Training(aware, TrainingSettings(steps=5, rate=1e-3, border=2)).run(data))
    assert all(not torch.equal(p, before[n]) for n, p in aware.named_parameters() if n in before and "of_input" not in n)


def test_sensor_degradation_has_the_transfer_function_it_names() -> None:
    """A wave at the coarse grid's Nyquist frequency is damped by blur and detector, one at zero frequency is not."""
    at = torch.arange(256)
    wave = torch.cos(torch.pi * (at - 0.5) / 2)  # two fine pixels to a coarse one; in phase with the coarse pixels
    fine = (0.5 + 0.4 * wave)[None, None, None, :].expand(1, 1, 64, 256)
    coarse = Degradation(kind="sensor", mtf=(0.5, 0.5), levels=0).apply(fine, 2)
    amplitude = (coarse[..., 20:-20].amax() - coarse[..., 20:-20].amin()) / 2 / 0.4
    assert float(amplitude) == pytest.approx(0.5 * np.cos(np.pi / 4), rel=0.03)  # the mean of two pixels passes cos(pi / 4)
    assert float(coarse[..., 20:-20].mean()) == pytest.approx(0.5, abs=1e-3)


def test_scores_are_those_of_published_tests() -> None:
    white = torch.ones(1, 3, 20, 20)
    assert float(luma(white)[0, 0, 0]) == pytest.approx(235 / 255)
    assert float(luma(0 * white)[0, 0, 0]) == pytest.approx(16 / 255)
    truth = 0.5 * white
    found = truth + 10 / 255 / (219 / 255)  # ten levels of Y
    assert float(psnr(found, truth, 4)) == pytest.approx(20 * np.log10(255 / 10), abs=0.5)
