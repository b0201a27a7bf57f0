"""Released regularisers, learning from patches, and restoring with them."""

from __future__ import annotations

import math
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deepinv.physics import Denoising, GaussianNoise, Inpainting

from imaging.bilevel import (
    LowerLevel,
    Patches,
    PatchSettings,
    RegularizedReconstructor,
    RidgeRegularizer,
    StochasticSettings,
    StochasticState,
    denoise,
    list_regularizers,
    load_regularizer,
    make_regularizer,
    save_regularizer,
    stochastic,
)
from imaging.bilevel.patches import first_guess
from imaging.bilevel.reconstructor import passed
from imaging.bilevel.solvers import norms
from imaging.errors import InputError
from imaging.priors import list_priors
from imaging.releases import Table, zoo_folder
from imaging.sensors import SensorPhysics, SignalDependentNoise
from tests.bilevel.models import images

SAMPLE = Path(__file__).parents[2] / "data" / "pleiades_like_pan_reference.tif"


def pictures(side: int = 96) -> torch.Tensor:
    """Two places of the sample scene, ``(2, 1, side, side)`` in [0, 1]."""
    import rasterio

    with rasterio.open(SAMPLE) as source:
        pixels = torch.from_numpy(source.read(1).astype("float32")) / 4095
    return torch.stack([pixels[100 : 100 + side, 60 : 60 + side], pixels[300 : 300 + side, 280 : 280 + side]])[:, None]


RECIPE = 'name = "t"\nfamily = "ridge"\n\n[model]\nwidths = [3, 6]\nkernel = 3\nnodes = 10\nreach = 2.0\n'


def test_releases_come_back_and_are_no_priors(tmp_path: Path) -> None:
    ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
    digest = save_regularizer(ridge, ridge.start(3), tmp_path / "t", RECIPE, {"steps": 7})
    found = load_regularizer(str(tmp_path / "t"))
    assert (found.name, found.digest) == ("t", digest)
    torch.testing.assert_close(found.theta, ridge.start(3), rtol=0, atol=0)
    assert not {p.name for p in list_priors()} & {r.name for r in list_regularizers()}
    assert list_regularizers()


def test_what_is_wrong_with_a_release_is_said(tmp_path: Path) -> None:
    ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
    save_regularizer(ridge, ridge.start(3), tmp_path / "t", RECIPE)
    with pytest.raises(InputError, match=r"unknown regulariser 'tw'"):
        load_regularizer("tw")
    recipe = (tmp_path / "t" / "recipe.toml").read_text(encoding="utf-8")
    for weight, good in (("0.5", True), ("0", False), ("'much'", False)):
        (tmp_path / "t" / "recipe.toml").write_text(recipe + f"\n[restoration]\nweight = {weight}\n", encoding="utf-8")
        if good:
            assert load_regularizer(str(tmp_path / "t")).weight == 0.5
        else:
            with pytest.raises(InputError, match=r"weight in \[restoration\] is"):
                load_regularizer(str(tmp_path / "t"))
    (tmp_path / "t" / "recipe.toml").write_text(recipe.replace("nodes = 10", "nodes = 11"), encoding="utf-8")
    with pytest.raises(InputError, match=r"holds .* parameters"):
        load_regularizer(str(tmp_path / "t"))
    (tmp_path / "t" / "weights.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(InputError, match=r"does not hold a regulariser|is damaged"):
        load_regularizer(str(tmp_path / "t"))
    with pytest.raises(InputError, match="family is 'wavelet'; accepted are tv, foe, ridge"):
        make_regularizer(Table({"family": "wavelet"}))
    with pytest.raises(InputError, match=r"unknown key 'depth' in \[model\]"):
        make_regularizer(Table({"family": "tv", "model": {"depth": 3}}))


@pytest.mark.parametrize("name", [r.name for r in list_regularizers()])
def test_released_regularizers_denoise(name: str) -> None:
    learned, truth = load_regularizer(name), pictures()
    for noise, share in ((0.02, 0.6), (0.1, 0.2)):
        y = truth + noise * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        x = denoise(LowerLevel(learned.regularizer), y, learned.theta, noise)
        assert x.shape == truth.shape
        assert float((x - truth).square().mean()) < share * noise**2


def test_denoising_does_not_depend_on_its_start() -> None:
    learned, truth = load_regularizer("tv"), pictures()
    for noise in (0.02, 0.1):
        y = truth + noise * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        start = first_guess(y, noise)
        assert (noise > 0.05) == bool((start != y).any())
        learned.regularizer.noise = noise
        lower = LowerLevel(learned.regularizer)
        plain, smoothed = (lower.solve(y, learned.theta, 1e-3, x) for x in (None, start))
        assert (norms(plain.x - smoothed.x) <= plain.bound + smoothed.bound).all()
        assert int(smoothed.iterations.max()) <= int(plain.iterations.max())
    flat = torch.full((1, 2, 8, 9), 0.3)
    torch.testing.assert_close(first_guess(flat, 0.1), flat)


def problems(regularizer: RidgeRegularizer) -> Patches:
    pictures = [i[0].float() for i in images(3, 64)]
    return Patches(pictures, PatchSettings(batch=3, crop=24, border=4, shrink=0.3, seed=2), LowerLevel(regularizer, crowd=0.5))


def test_learning_from_patches_lowers_the_loss_and_can_be_resumed() -> None:
    def learn(steps: int, state: StochasticState) -> list[float]:
        ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
        settings = StochasticSettings(steps=40, rates={"all": 0.02}, accuracy=3e-3, warmup=3, average=0.9)
        run = stochastic(problems(ridge), state, settings, ridge.groups())
        return [next(run)["loss"] for _ in range(steps)]

    start = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0).start(1)
    whole = StochasticState.begin(start)
    learn(40, whole)
    parts = StochasticState.begin(start)
    learn(15, parts)
    resumed = StochasticState.begin(start)
    resumed.load_state_dict(parts.state_dict())
    learn(25, resumed)
    torch.testing.assert_close(resumed.mean, whole.mean, rtol=0, atol=0)
    assert _log_loss(whole.mean) < _log_loss(start) - 0.3


def test_problems_that_come_again_go_on_from_what_was_found() -> None:
    def learn(recall: int, again: Callable[[int], int]) -> tuple[list[dict[str, float]], torch.Tensor]:
        ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
        settings = StochasticSettings(steps=24, rates={"all": 0.002}, accuracy=1e-3, recall=recall)
        state, drawn = StochasticState.begin(ridge.start(1)), problems(ridge)
        return list(stochastic(lambda k: drawn(again(k)), state, settings, ridge.groups())), state.theta.detach()

    (cold, theta), (warm, same) = learn(0, lambda k: k % 4), learn(4, lambda k: k)
    assert [w["iterations"] for w in warm[:4]] == [c["iterations"] for c in cold[:4]]
    assert sum(w["iterations"] for w in warm[4:]) < 0.6 * sum(c["iterations"] for c in cold[4:])
    assert float((same - theta).norm()) < 0.2 * float(
        (theta - RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0).start(1)).norm()
    )


def test_limits_of_parameters_are_kept() -> None:
    ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
    state, part = StochasticState.begin(ridge.start(1)), ridge.groups()["scales"]
    settings = StochasticSettings(steps=5, rates={"all": 0.1}, accuracy=3e-3, limits={"scales": (-0.05, 2.31)}, even=True)
    list(stochastic(problems(ridge), state, settings, ridge.groups()))
    for theta in (state.theta.detach(), state.mean):
        assert -0.05 <= float(theta[part].min()) <= float(theta[part].max()) <= 2.31 + 1e-6
    assert float((state.theta.detach() - ridge.start(1))[part].abs().max()) > 0.02
    with pytest.raises(ValueError, match="recall is -1"):
        StochasticSettings(recall=-1)


def _log_loss(theta: torch.Tensor) -> float:
    """Mean over other patches."""
    ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
    drawn = problems(ridge)
    return sum(math.log(p.loss(p.solve(theta, 1e-3))) for p in (drawn(1000 + k) for k in range(8))) / 8


def test_a_problem_is_a_function_of_seed_and_step() -> None:
    ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
    first, again, other = (problems(ridge)(k) for k in (4, 4, 5))
    assert torch.equal(first.measured, again.measured)
    assert not torch.equal(first.measured, other.measured)


def test_a_sensor_is_undone() -> None:
    learned = load_regularizer("tv")
    axis = torch.arange(-3.0, 4.0)
    psf = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 0.7**2))
    physics = SensorPhysics((psf / psf.sum())[None, None], SignalDependentNoise(torch.tensor([0.004]), torch.tensor([1e-5])), 4)
    truth = pictures(72)
    y = physics(truth, seed=1)
    mask = torch.ones_like(y)
    mask[..., 20:24, 20:24] = 0
    broken = torch.where(mask > 0, y, torch.full_like(y, 9.0))
    x = RegularizedReconstructor(learned, steps=300)(broken, physics, mask=mask, level=0.5)
    assert x.shape == truth.shape
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    assert float((x - truth)[inner].square().mean()) < 0.75 * float((y - truth[..., 4:-4, 4:-4])[..., 4:-4, 4:-4].square().mean())
    alone = RegularizedReconstructor(learned, steps=300)(broken[:1], physics, mask=mask[:1], level=0.5)
    difference = (alone[0] - x[0]).abs()
    difference[..., 18:34, 18:34] = 0  # around the hole and in the margins, of which nothing is known, the energy is nearly flat
    assert float(difference[..., 8:-8, 8:-8].max()) < 2e-3


def test_scales_of_faint_and_strong_noise_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strong, faint = load_regularizer("wcrr-bsd"), load_regularizer("wcrr")
    folders = [str(zoo_folder() / name) for name in ("wcrr-bsd", "wcrr")]
    recipe = str(zoo_folder() / "wcrr-bsd" / "recipe.toml")
    monkeypatch.setattr(sys, "argv", ["join_scales", *folders, "--recipe", recipe, "--release", str(tmp_path / "joint")])
    runpy.run_module("scripts.release.join_scales", run_name="__main__")
    joint = load_regularizer(str(tmp_path / "joint"))
    regularizer, y = joint.regularizer, pictures()
    assert isinstance(regularizer, RidgeRegularizer)
    kept = regularizer.groups()["scales"]
    for level, source in ((5, faint), (15, strong), (25, strong)):
        regularizer.noise = level / 255
        theta = strong.theta.clone()
        theta[kept] = source.theta[kept]
        torch.testing.assert_close(regularizer.energy(y, joint.theta), regularizer.energy(y, theta), rtol=1e-4, atol=1e-4)


def test_what_a_sensor_passes_is_that_of_any_operator() -> None:
    physics = SensorPhysics(torch.ones(1, 1, 3, 3) / 9, SignalDependentNoise(torch.tensor([0.01]), torch.tensor([0.0])), 2)
    scene = torch.zeros(1, 1, 40, 40)
    assert passed(physics, scene) == pytest.approx(1 / 9)
    assert passed(Denoising(GaussianNoise(0.1)), scene) == pytest.approx(1)
    assert passed(Inpainting((1, 40, 40), mask=(torch.arange(40) % 2).expand(1, 40, 40).float()), scene) == pytest.approx(0.5)


def test_the_weight_follows_what_a_sensor_passes() -> None:
    learned = load_regularizer("tv")
    physics = SensorPhysics(torch.ones(1, 1, 3, 3) / 9, SignalDependentNoise(torch.tensor([0.01]), torch.tensor([0.0])), 4)
    y = physics(pictures(48), seed=2)
    found = RegularizedReconstructor(replace(learned, weight=1.0, response=0.5, contrast=0.0), steps=20)(y, physics)
    by_hand = RegularizedReconstructor(replace(learned, weight=1 / 3, response=0.0, contrast=0.0), steps=20)(y, physics)
    torch.testing.assert_close(found, by_hand)


def test_strong_contrast_is_regularised_less_and_weak_contrast_more() -> None:
    learned, axis = load_regularizer("tv"), torch.arange(96)
    physics = SensorPhysics(torch.ones(1, 1, 3, 3) / 9, SignalDependentNoise(torch.tensor([0.004]), torch.tensor([0.0])), 4)
    blocks = ((axis[:, None] // 6 + axis // 6) % 2 - 0.5)[None, None]

    def roughness(amplitude: float, contrast: float) -> float:
        y = physics(0.5 + amplitude * blocks, seed=3)
        found = RegularizedReconstructor(replace(learned, contrast=contrast), steps=30)(y, physics, level=0.5)
        return float(found[..., 24:-24, 24:-24].diff(dim=-1).abs().mean())

    assert roughness(0.6, 0.3) > roughness(0.6, 0.0)
    assert roughness(0.01, 0.3) < roughness(0.01, 0.0)
