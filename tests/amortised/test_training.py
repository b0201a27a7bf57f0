"""Training, measurements of the trained network, and releases."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.amortised import InferenceNetwork, NetworkSettings, load_limits, load_network, save_network
from imaging.amortised.limits import find_limits
from imaging.amortised.losses import posterior_loss
from imaging.amortised.optimizer import Muon, orthogonalised
from imaging.amortised.sensors import SensorRanges
from imaging.amortised.training import Batches, Trainer, crops_of, samplers_of, validation_batches
from imaging.amortised.zoo import choose_network, find_network, list_networks
from imaging.errors import InputError
from imaging.training import CropSampler, TrainingSettings
from tests.amortised.networks import tiny
from tests.scenes import smooth

RANGES = SensorRanges(double=0.5)
SETTINGS = TrainingSettings(steps=4, batch=2, crop=64, warmup=1, learning_rate=1e-3, gain=(0.5, 1.0), haze=0.5, seed=3)
IMAGES = [smooth(4, 128, 128, k).astype(np.uint16) for k in range(2)]
RECIPE = 'name = "t"\nfamily = "amortised"\n\n[model]\nchannels = 1\nwidths = [8, 8, 8]\nblocks = [1, 1, 1]\n'


def trainer(folder: Path, **changes: object) -> Trainer:
    torch.manual_seed(0)
    network = InferenceNetwork(NetworkSettings(widths=(8, 8, 8), blocks=(1, 1, 1)))
    validation = validation_batches(IMAGES[:1], 1, RANGES, 96)
    settings = replace(SETTINGS, **changes)
    source = Batches(samplers_of(IMAGES, settings, 1, RANGES), RANGES, settings.seed, True)
    return Trainer(network, source, validation, settings, folder, torch.device("cpu"), 0)


def finish(running: Trainer) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    for _ in running.run(rows.append, every=1e9):
        pass
    return rows


def test_resumed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "a")
    rows = finish(whole)
    assert {"gain", "nll", "coverage", "gain_double", "fidelity", "nats"} <= set(rows[-1])
    interrupted = trainer(tmp_path / "b")
    steps = interrupted.run(lambda _: None, every=0)  # saves at each step
    next(steps), next(steps)
    steps.close()
    state = interrupted.state()
    for stored in state["optimizers"]:
        del stored["param_groups"][0]["factor"]  # earlier checkpoints have none
    torch.save(state, tmp_path / "b" / "checkpoint.pt")
    again = trainer(tmp_path / "b")
    assert again.resume()
    assert again.step == 2
    finish(again)
    for name, value in whole.average.items():
        assert torch.equal(value, again.average[name]), name
    assert any(not torch.equal(v, w) for v, w in zip(whole.average.values(), trainer(tmp_path / "c").average.values(), strict=True))


def test_training_lowers_the_error(tmp_path: Path) -> None:
    running = trainer(tmp_path, steps=150, learning_rate=4e-3)
    before = running.evaluate()
    finish(running)
    after = running._averaged()
    assert before["gain"] == pytest.approx(0, abs=1e-3)  # the change begins at zero
    assert after["gain"] > 0.1
    assert after["nll"] < before["nll"]


def test_loss_is_the_closed_form() -> None:
    """An error of half a unit everywhere, a deviation of one: log(1/4 + floor), and 1/8 + log 1 nats; borders do not count."""
    truth, unit, one = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.01), torch.ones(1, 1, 16, 16)
    change = torch.full_like(truth, 0.5)
    change[..., :2, :] = 100.0
    fidelity, nats = posterior_loss(change, one, truth, unit, truth, one, 2)
    assert float(fidelity) == pytest.approx(math.log(0.25 + 0.03))
    assert float(nats) == pytest.approx(0.125)
    _, far = posterior_loss(torch.full_like(truth, 10.0), one, truth, unit, truth, one, 2)
    assert float(far) == pytest.approx(3 * (10 - 1.5))  # linear beyond three deviations


def test_steps_are_orthogonalised() -> None:
    matrix = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    weight = torch.nn.Parameter(torch.zeros(12, 10, 2, 2))
    optimizer = Muon([weight], lr=0.1)
    weight.grad = matrix.reshape(weight.shape)
    optimizer.step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.1 * 0.2, rel=0.15)
    aligned = torch.nn.functional.cosine_similarity(weight.detach().flatten(), -matrix.flatten(), dim=0)
    assert float(aligned) > 0.7


def test_batches_depend_on_the_step_alone() -> None:
    samplers = {f: CropSampler(IMAGES, crops_of(SETTINGS, f)) for f in (1, 2)}
    source = Batches(samplers, RANGES, 1, True)
    drawn = [source[k] for k in range(8)]
    assert {d["truth"].shape[-1] // d["y"].shape[-1] for d in drawn} == {1, 2}
    one, again = drawn[3], source[3]
    assert {"y", "truth"} <= one.keys()
    assert all(torch.equal(v, again[k]) for k, v in one.items())
    alike = [d for d in drawn if d["y"].shape == one["y"].shape]
    assert [torch.equal(one["y"], d["y"]) for d in alike].count(True) == 1 < len(alike)


def test_limits_hold_the_sensors_that_were_drawn(tmp_path: Path) -> None:
    samplers = {1: CropSampler(IMAGES, SETTINGS)}
    source = Batches(samplers, replace(RANGES, double=0.0, holes=0.0, snr=(50.0, 60.0), level_spread=0.0), 1, False)
    ranges = find_limits(tiny(), (source[k] for k in range(4)))
    assert 5 < ranges["snr"][0] < ranges["snr"][1] < 100
    assert 0.2 < ranges["mtf"][0] < ranges["mtf"][1] < 1
    save_network(tiny(), tmp_path, RECIPE, measured={"limits": ranges})
    found = load_limits(tmp_path)
    assert found.ranges.keys() == ranges.keys()
    inside = {k: [(a * b) ** 0.5] for k, (a, b) in found.ranges.items()}
    assert found.exceeded(inside) == []
    assert found.distance(inside) == pytest.approx(-0.5)
    low, high = found.ranges["snr"]
    far = found.exceeded(inside | {"snr": [low, high * (high / low) ** 2]})
    assert [e.name for e in far] == ["snr"]
    assert found.distance(inside | {"snr": [high * (high / low) ** 2]}) == pytest.approx(2)
    assert "signal-to-noise ratio at the mean signal is" in str(far[0])


def test_release_is_read_as_it_was_written(tmp_path: Path) -> None:
    network = tiny()
    save_network(network, tmp_path, RECIPE, {"steps": 7}, {"limits": {"snr": [1.0, 2.0]}})
    save_network(network, tmp_path, (tmp_path / "recipe.toml").read_text(), {"steps": 8}, {"limits": {"snr": [3.0, 4.0]}})
    assert (tmp_path / "recipe.toml").read_text().count("[limits]") == 1
    assert load_limits(tmp_path).ranges == {"snr": (3.0, 4.0)}
    again = load_network(str(tmp_path))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    assert again.factor == 1.0
    recipe = (tmp_path / "recipe.toml").read_text()
    (tmp_path / "recipe.toml").write_text(recipe + "\n[calibration]\ndeviation = 0.5\n")
    stack = torch.randn(1, 1, 18, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(load_network(str(tmp_path))(stack)[1], 0.5 * again(stack)[1])
    (tmp_path / "recipe.toml").write_text(recipe + "\n[calibration]\ndeviation = -1\n")
    with pytest.raises(InputError, match=r"deviation in .calibration. is -1; accepted are numbers from"):
        load_network(str(tmp_path))
    (tmp_path / "recipe.toml").write_text(recipe)
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="is damaged"):
        load_network(str(tmp_path))


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (RECIPE.replace("[8, 8, 8]", "[8, 8]"), "widths in .model. is .8, 8.; accepted are lists of 3 whole numbers"),
        (RECIPE.replace("widths = [8, 8, 8]", "widths = [8, 8, 16]"), "does not fit its recipe: weight"),
        (RECIPE.replace("amortised", "lapped"), "holds no released inference network: its family is 'lapped'"),
    ],
)
def test_unfit_recipes_are_refused(tmp_path: Path, recipe: str, said: str) -> None:
    save_network(tiny(), tmp_path, recipe)
    with pytest.raises(InputError, match=said):
        load_network(str(tmp_path))


def test_zoo_has_the_default_network() -> None:
    assert [n.name for n in list_networks()] == ["pan-amortised", "rgb-amortised", "rgbn-amortised"]
    for bands, name in (
        (("nir", "blue", "red", "green"), "rgbn-amortised"),
        (("red", "green", "blue"), "rgb-amortised"),
        (("pan",), "pan-amortised"),
        (("red", "nir"), "pan-amortised"),
    ):
        assert choose_network(bands) == name
    assert load_network("rgbn-amortised").bands == ("red", "green", "blue", "nir")
    assert load_network().settings.channels == 1
    with pytest.raises(InputError, match="unknown inference network 'pan-amortized'; did you mean pan-amortised"):
        find_network("pan-amortized")
