"""VBLE as a deepinv reconstructor: purity, batches, other physics, misuse."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import deepinv
import pytest
import torch
from deepinv.utils import TensorList
from torch import Tensor
from torch.utils.data import DataLoader

from imaging.posterior import VBLE, FitSettings, PosteriorMixture, rate_scale
from imaging.posterior.families import LOG_WIDTH_RANGE, Uniform
from imaging.posterior.settings import signal_levels
from imaging.priors import LatentPrior, load_prior
from imaging.restoration.selftest import simulated_scene
from imaging.sensors import SensorPhysics, load_profile, sensor_physics
from tests.posterior.models import LinearPrior, problem
from tests.priors.models import tiny
from tests.scenes import smooth


@pytest.fixture(scope="module")
def prior(tiny_prior: Path) -> LatentPrior:
    """Random weights."""
    return load_prior(str(tiny_prior))


@pytest.fixture(scope="module")
def physics() -> SensorPhysics:
    """A panchromatic sensor, as measured."""
    return sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0)


@pytest.fixture(scope="module")
def y(physics: SensorPhysics) -> Tensor:
    """Two measurements of 40 x 48 pixels, of different brightness."""
    x = torch.from_numpy(smooth(2, 40 + 2 * physics.margin, 48 + 2 * physics.margin)[:, None] / 4095).float()
    return physics(x * torch.tensor([1.0, 0.4]).reshape(2, 1, 1, 1), seed=1)


def quick(method: str = "vble-xz", **settings: int) -> FitSettings:
    return FitSettings(method=method, iterations=4, samples=4, precision="float32", **settings)  # type: ignore[arg-type]


def same(a: PosteriorMixture, b: PosteriorMixture) -> bool:
    return all(torch.equal(m, n) for m, n in zip(a.moments(4), b.moments(4), strict=True)) and torch.equal(a.sample(2), b.sample(2))


def test_fit_repeats_exactly_and_follows_its_seed(prior: LatentPrior, physics: SensorPhysics, y: Tensor) -> None:
    model = VBLE(prior, quick())
    first = model.fit_mixture(y, physics, seed=3)
    torch.rand(7)  # the global generator plays no part
    assert same(first, model.fit_mixture(y, physics, seed=3))
    assert not same(first, model.fit_mixture(y, physics, seed=4))
    assert torch.equal(model(y, physics, seed=3), first.mean(4))
    assert torch.equal(model.sample(y, physics, 2, seed=3), first.sample(2))
    assert not torch.equal(first.sample(1), first.sample(1, first=1))


def test_fit_keeps_nothing_on_the_objects(prior: LatentPrior, physics: SensorPhysics, y: Tensor) -> None:
    model = VBLE(prior, quick())

    def contents(module: torch.nn.Module) -> dict[str, object]:
        return {f"{n}.{k}": id(v) for n, m in module.named_modules() for k, v in vars(m).items()}

    before = contents(model), contents(physics), {k: v.clone() for k, v in model.state_dict().items()}
    copy = y.clone()
    model.fit_mixture(y, physics).moments(2)
    assert (contents(model), contents(physics)) == before[:2]
    assert all(torch.equal(v, before[2][k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in prior.parameters())
    assert torch.equal(y, copy)


def test_threads_give_what_each_gives_alone(prior: LatentPrior, physics: SensorPhysics, y: Tensor) -> None:
    model = VBLE(prior, quick())
    alone = [model.fit_mixture(y[k : k + 1], physics, seed=k) for k in range(2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda k: model.fit_mixture(y[k : k + 1], physics, seed=k), [0, 1, 0, 1]))
    assert all(same(alone[k % 2], t) for k, t in enumerate(together))


def test_reduced_precision_changes_little(physics: SensorPhysics, y: Tensor) -> None:
    prior = tiny()
    prior.set_statistics(torch.from_numpy(smooth(4, 128, 128)[:, None] / 4095).float())
    settings = replace(quick(), rate_scale=1.2)
    full, half = (VBLE(prior, replace(settings, precision=p)).posterior_moments(y, physics) for p in ("float32", "bfloat16"))
    assert half.mean.dtype == half.std.dtype == torch.float32
    # The networks keep 8 bits; what they add to the linear part is small.
    assert (half.mean - full.mean).abs().max() < 2e-3
    assert (half.std / full.std - 1).abs().mean() < 0.02
    assert not torch.equal(half.mean, full.mean)


@pytest.mark.parametrize("method", ["vble-xz", "vble", "map"])
def test_items_of_a_batch_do_not_meet(prior: LatentPrior, physics: SensorPhysics, y: Tensor, method: str) -> None:
    model = VBLE(prior, quick(method))
    both = model.posterior_moments(y, physics)
    for k in range(2):
        alone = model.posterior_moments(y[k : k + 1], physics)
        assert torch.allclose(both.mean[k : k + 1], alone.mean, atol=2e-5)
        assert torch.allclose(both.std[k : k + 1], alone.std, rtol=2e-3, atol=1e-6)


def test_level_and_scale_come_from_the_valid_pixels_of_each_item() -> None:
    y = torch.stack([torch.arange(200.0), torch.arange(200.0) / 10]).reshape(2, 1, 10, 20)
    mask = torch.ones(1, 1, 10, 20)
    mask[..., 5:, :] = 0
    mean, high = signal_levels(y, None)
    assert mean.tolist() == pytest.approx([99.5, 9.95])
    assert high.tolist() == pytest.approx([197.0, 19.7])  # 198 of 200 values are not above it
    mean, high = signal_levels(y, mask)
    assert mean.tolist() == pytest.approx([49.5, 4.95])
    assert high.tolist() == pytest.approx([98.0, 9.8])
    assert [v.tolist() for v in signal_levels(y, 0 * mask)] == [[0.0, 0.0], [0.0, 0.0]]


def test_rate_scale_matches_decoder_to_error_within_the_radiometric_range() -> None:
    prior = LinearPrior()
    scale = rate_scale(prior, 0.1, 0.5, 1.4)
    assert prior.gamma / scale == pytest.approx(1.4 * 0.1)
    assert rate_scale(prior, 1e-4, 0.5) * 0.5 == pytest.approx(1.5)


def test_gradient_of_the_caller_stays_off(prior: LatentPrior, physics: SensorPhysics, y: Tensor) -> None:
    model = VBLE(prior, quick())
    with torch.no_grad():
        quiet = model(y, physics)
        assert not torch.is_grad_enabled()
    assert torch.equal(quiet, model(y, physics))
    assert not model(y, physics).requires_grad


def test_inference_mode_is_refused_with_the_remedy(prior: LatentPrior, physics: SensorPhysics, y: Tensor) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"outside torch\.inference_mode"):
        VBLE(prior, quick())(y, physics)


def test_works_under_deepinv_test(prior: LatentPrior, physics: SensorPhysics) -> None:
    m = physics.margin
    x = torch.from_numpy(smooth(2, 40 + 2 * m, 48 + 2 * m)[:, None] / 4095).float()
    model = VBLE(prior, FitSettings(iterations=30, samples=2, precision="float32"))
    results = deepinv.test(
        model, DataLoader([{"x": v} for v in x], batch_size=2), physics, metrics=[deepinv.loss.metric.PSNR()], online_measurements=True,
        verbose=False, show_progress_bar=False, non_blocking_transfers=False,
    )  # fmt: skip
    assert results["PSNR"] > results["PSNR no learning"]


@pytest.mark.parametrize(("method", "bands"), [("vble", 1), ("map", 1), ("vble", 3)])
def test_denoising_by_plain_deepinv_physics_lowers_the_error(method: str, bands: int) -> None:
    x = torch.from_numpy(smooth(bands, 48, 64)[None] / 4095).float()
    prior = tiny(bands, trained=False)
    prior.set_statistics(x)
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.05, rng=torch.Generator().manual_seed(0)))
    y = physics(x)
    settings = FitSettings(method=method, iterations=60, samples=4, rate_ratio=1.4, precision="float32")
    restored = VBLE(prior, settings)(y, physics)
    assert restored.shape == x.shape
    assert (restored - x).square().mean() < 0.9 * (y - x).square().mean()


def test_inpainting_by_plain_deepinv_physics_fills_the_holes(prior: LatentPrior) -> None:
    x = torch.from_numpy(smooth(1, 64, 64)[:, None] / 4095).float()
    mask = (torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    physics = deepinv.physics.Inpainting((1, 64, 64), mask=mask, noise_model=deepinv.physics.GaussianNoise(0.01))
    restored = VBLE(prior, FitSettings(method="vble", iterations=60, samples=4, precision="float32"))(physics(x), physics)
    holes = mask[None] == 0
    constant = (x - x.mean())[holes].square().mean()
    assert (restored - x)[holes].square().mean() < 0.7 * constant


def test_noise_may_differ_between_items() -> None:
    given = problem()
    method = VBLE(given.prior, FitSettings(method="vble", iterations=3))
    y = given.y.repeat(2, 1, 1, 1)
    both = method(y, deepinv.physics.Denoising(deepinv.physics.GaussianNoise(torch.tensor([0.05, 0.2]))))
    for k, sigma in enumerate((0.05, 0.2)):
        alone = method(given.y, deepinv.physics.Denoising(deepinv.physics.GaussianNoise(sigma)))
        assert torch.allclose(both[k : k + 1], alone, atol=1e-6)


def test_masked_values_matter_neither_to_the_fit_nor_to_its_scale() -> None:
    given = problem(masked=True)
    assert given.mask is not None
    method = VBLE(given.prior, FitSettings(method="vble-xz", iterations=3))
    other = torch.where(given.mask > 0, given.y, -5.0)
    start = torch.zeros(1, 1, 15, 13, dtype=torch.float64)
    first, second = (method.fit(v, given.physics, mask=given.mask, x_init=start) for v in (given.y, other))
    assert torch.equal(first.rate_scale, second.rate_scale)
    assert all(torch.equal(a, b) for a, b in zip(first.moments(2), second.moments(2), strict=True))


def test_draws_follow_the_place_of_the_scene() -> None:
    given = problem()
    method = VBLE(given.prior, FitSettings(method="vble", iterations=3))
    here, again, there = (method.fit(given.y, given.physics, origins=[o]) for o in ((8, 4), (8, 4), (10, 4)))
    assert torch.equal(here.family.centre, again.family.centre)
    assert not torch.equal(here.family.centre, there.family.centre)


def test_a_compensated_start_decodes_to_what_was_given() -> None:
    """The mean of mirrored draws is nearer to the scene that a fit starts from than without compensation."""
    x = torch.from_numpy(simulated_scene(128)).float()[None, None]
    physics = sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0, 16)
    y = physics(x, seed=0)
    model = VBLE(load_prior("pan"), FitSettings())
    errors = []
    for compensated in (False, True):
        running = model.begin(y, physics, x_init=x, border=0, compensated=compensated)
        errors.append(float((running.scene() - x)[..., 24:-24, 24:-24].square().mean()))
    assert errors[1] < 0.6 * errors[0]


class CoupledPrior(LinearPrior):
    """Each latent is Gaussian around the hyper-latent above it."""

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """Without constants."""
        above = torch.nn.functional.interpolate(h, scale_factor=2.0)
        return -0.5 * ((z - above).square().sum((1, 2, 3)) + h.square().sum((1, 2, 3)))


def test_latents_of_overlapping_windows_agree() -> None:
    """With nothing measured all that moves latents is the draws at their place, their own and those of the hyper-latents."""
    physics, method = problem().physics, VBLE(CoupledPrior(), FitSettings(method="vble", iterations=8))

    def centre(height: int, width: int, origin: tuple[int, int]) -> Tensor:
        nothing = torch.zeros(1, 1, height, width, dtype=torch.float64)
        return method.fit(nothing, physics, mask=nothing, rate_scale=1.0, origins=[origin]).family.centre

    whole = centre(60, 48, (20, 10))
    part = centre(36, 40, (20 + 6, 10 + 4))
    rows, columns = 20, 22  # latents whose hyper-latent lies in both windows
    assert whole.abs().max() > 0.01
    assert torch.equal(part[..., :rows, :columns], whole[..., 6 : 6 + rows, 4 : 4 + columns])


def test_progress_counts_the_iterations() -> None:
    given, seen = problem(), []
    VBLE(given.prior, FitSettings(method="map", iterations=5)).fit(given.y, given.physics, progress=seen.append)
    assert seen == [1, 2, 3, 4, 5]


def test_widths_come_back_from_their_bounds() -> None:
    """Steps so long that widths hit their bounds: with nothing measured they still end where the prior wants them, at 12 ** 0.5."""
    given = problem()
    chosen = FitSettings(method="vble", iterations=200, learning_rate=3.0)
    fitted = VBLE(given.prior, chosen).fit(given.y, given.physics, mask=torch.zeros_like(given.y), rate_scale=1.0).family
    assert isinstance(fitted, Uniform)
    assert ((fitted.log_width - 0.5 * math.log(12)).abs() < 1).float().mean() > 0.9
    early = (
        VBLE(given.prior, replace(chosen, iterations=2)).fit(given.y, given.physics, mask=torch.zeros_like(given.y), rate_scale=1.0).family
    )
    assert isinstance(early, Uniform)
    assert early.log_width.max() == LOG_WIDTH_RANGE[1]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"method": "em"}, "method is 'em'; accepted are vble-xz, vble, map"),
        ({"iterations": 0}, "iterations is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"lattices": 5}, "lattices is 5"),
        ({"weight": 0.0}, "weight is 0.0; it must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"rate_ratio": -1.0}, "rate_ratio is -1.0"),
        ({"family": "cauchy"}, "family is 'cauchy'; accepted are auto, uniform, gaussian"),
        ({"precision": "half"}, "precision is 'half'; accepted are float32, bfloat16"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FitSettings(**setting)  # type: ignore[arg-type]


def test_misuse_is_refused_before_the_fit(prior: LatentPrior, physics: SensorPhysics, y: Tensor) -> None:
    denoising = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.05))
    with pytest.raises(TypeError, match="a list of measurements needs a StackedLinearPhysics, not Denoising"):
        VBLE(prior, quick()).fit(TensorList([y, y]), denoising)
    with pytest.raises(TypeError, match="a StackedLinearPhysics of 1 needs a TensorList of as many"):
        VBLE(prior, quick()).fit(y, deepinv.physics.StackedLinearPhysics([denoising]))
    with pytest.raises(ValueError, match="the scene has 2 channels, the prior 1"):
        VBLE(prior, quick("vble")).fit(y.reshape(1, 2, 40, 48), denoising)
    with pytest.raises(TypeError, match=r"set one with physics\.set_noise_model"):
        VBLE(prior, quick("vble")).fit(y, deepinv.physics.Denoising(deepinv.physics.UniformNoise(0.1)))
