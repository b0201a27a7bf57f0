"""Any linear physics of deepinv: what was measured, the first estimate, the information of each pixel, and fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deepinv
import pytest
import rasterio
import torch
from deepinv import physics as operators
from deepinv.utils import TensorList
from torch import Tensor

from imaging.posterior import VBLE, FitSettings, SensorLikelihood, sensor_deviation
from imaging.posterior.gaussian import expected_deviation, gaussian_estimate
from imaging.posterior.measurement import information, measurements, scene_shape
from imaging.priors import LatentPrior, load_prior
from imaging.sensors import SensorPhysics, SignalDependentNoise
from imaging.sensors.noise import noise_variance
from imaging.sensors.wiener import scene_spectrum

SIDE, SIGMA = 80, 0.02


def noise(sigma: Any = SIGMA, seed: int = 5) -> operators.GaussianNoise:
    return operators.GaussianNoise(sigma, rng=torch.Generator().manual_seed(seed))


def kernel(sigma: float = 1.0) -> Tensor:
    axis = torch.exp(-(torch.arange(-3, 4.0) ** 2) / (2 * sigma**2))
    square = axis[:, None] * axis
    return (square / square.sum())[None, None]


def make(name: str) -> operators.LinearPhysics:
    mask = (torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    blur = operators.BlurFFT((1, SIDE, SIDE), kernel(), noise_model=noise())
    return {
        "denoising": lambda: operators.Denoising(noise()),
        "blur valid": lambda: operators.Blur(kernel(), padding="valid", noise_model=noise()),
        "blur circular": lambda: operators.Blur(kernel(), padding="circular", noise_model=noise()),
        "blur reflect": lambda: operators.Blur(kernel(), padding="reflect", noise_model=noise()),
        "downsampling": lambda: operators.Downsampling((1, SIDE, SIDE), filter="gaussian", factor=2, noise_model=noise()),
        "inpainting": lambda: operators.Inpainting((1, SIDE, SIDE), mask=mask, noise_model=noise()),
        "composition": lambda: operators.Inpainting((1, SIDE, SIDE), mask=mask, noise_model=noise()) * blur,
        "poisson": lambda: operators.Denoising(operators.PoissonNoise(0.002, rng=torch.Generator().manual_seed(5))),
        "stack": lambda: operators.StackedLinearPhysics(
            [blur, operators.Inpainting((1, SIDE, SIDE), mask=mask, noise_model=noise()), operators.Denoising(noise(0.1, 7))]
        ),
    }[name]()


pytestmark = pytest.mark.filterwarnings("ignore:At least one input physics is a DecomposablePhysics")
NAMES = ("denoising", "blur valid", "blur circular", "blur reflect", "downsampling", "inpainting", "composition", "poisson", "stack")


def scene(count: int = 1) -> Tensor:
    """Pieces of the reference of the sample scene."""
    with rasterio.open(Path(__file__).parents[2] / "data" / "pleiades_like_pan_reference.tif") as source:
        values = source.read(1).astype("float32") / 4095
    return torch.stack([torch.from_numpy(values[k : k + SIDE, 200 : 200 + SIDE].copy()) for k in (100, 300)])[:count, None]


@pytest.fixture(scope="module")
def prior() -> LatentPrior:
    """The default prior."""
    return load_prior()


def plain(x: Tensor, y: Any, physics: operators.LinearPhysics) -> Tensor:
    """The measurement itself, brought to the scene's grid without regard to the noise."""
    back = physics.A_adjoint(y)
    return (back + 0.0025) / (physics.A_adjoint(physics.A(torch.ones_like(x))) + 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_first_estimate_is_nearer_to_the_scene_than_the_measurement(name: str) -> None:
    physics, x = make(name), scene()
    y = physics(x)
    pieces = measurements(y, physics)
    assert scene_shape(y, physics) == x.shape
    estimate = gaussian_estimate(pieces, torch.tensor([float(x.mean())]), x.shape)
    assert (estimate - x).square().mean() < (plain(x, y, physics) - x).square().mean()


@pytest.mark.parametrize("name", NAMES)
def test_fits_lower_the_error_and_know_it(name: str, prior: LatentPrior) -> None:
    physics, x = make(name), scene(2)
    y = physics(x)
    start = gaussian_estimate(measurements(y, physics), x.mean((1, 2, 3)), x.shape)
    mean, std = VBLE(prior).fit_mixture(y, physics).moments(8)
    assert mean.shape == x.shape
    inner = (..., slice(8, -8), slice(8, -8))
    error = (mean - x)[inner]
    assert error.square().mean() < 1.03 * (start - x)[inner].square().mean()
    assert 0.5 < float((error.square() / std[inner].square()).mean()) < 4


def test_several_measurements_tell_more_than_each(prior: LatentPrior) -> None:
    x = scene()
    one, two = operators.Denoising(noise(0.1, 6)), operators.Denoising(noise(0.05))
    both = operators.StackedLinearPhysics([one, two])
    y = both(x)
    model = VBLE(prior, FitSettings(samples=4, lattices=1))
    errors = [float((model(v, p) - x).square().mean()) for v, p in ((y[0], one), (y[1], two), (y, both))]
    assert errors[2] < min(errors[:2])
    # Two equal measurements of one noise are one measurement of half its variance, exactly.
    pair = operators.StackedLinearPhysics([operators.Denoising(noise(0.1))] * 2)
    half = operators.Denoising(noise(0.1 / 2**0.5))
    settings = {"level": 0.3, "rate_scale": 0.5, "x_init": y[0]}
    first = model.fit(TensorList([y[0], y[0]]), pair, **settings).moments(2)
    second = model.fit(y[0], half, **settings).moments(2)
    torch.testing.assert_close(first.mean, second.mean, rtol=0, atol=2e-5)
    torch.testing.assert_close(first.std, second.std, rtol=1e-3, atol=0)


def test_likelihood_of_a_stack_is_the_sum_and_masks_go_with_the_parts() -> None:
    x, stack = scene(2), make("stack")
    y = stack(x)
    likelihood = SensorLikelihood()
    alone = [likelihood.fn(x, v, p) for v, p in zip(y, stack.physics_list, strict=True)]
    torch.testing.assert_close(likelihood.fn(x, y, stack), sum(alone))
    masks = TensorList([torch.ones_like(y[0]), torch.zeros_like(y[1]), torch.ones_like(y[2])])
    torch.testing.assert_close(likelihood.fn(x, y, stack, mask=masks), alone[0] + alone[2])


@pytest.mark.parametrize("name", ["denoising", "inpainting", "blur circular", "stack"])
def test_information_is_the_diagonal_of_the_normal_operator(name: str) -> None:
    physics, x = make(name), scene()
    y = physics(x)
    found = information(x, measurements(y, physics))
    basis = torch.zeros(4, 1, SIDE, SIDE)
    places = [(20, 30), (33, 8), (40, 41), (21, 31)]
    for k, (row, column) in enumerate(places):
        basis[k, 0, row, column] = 1
    for k, place in enumerate(places):
        delta = basis[k : k + 1]
        exact = sum(
            float((p.A(delta).square() / noise_variance(p, p.A(x))).sum()) for p in (physics.physics_list if name == "stack" else [physics])
        )
        tolerance = 1e-3 if name in {"denoising", "inpainting"} else 0.35
        assert float(found[(0, 0, *place)]) == pytest.approx(exact, rel=tolerance, abs=1e-3)


def test_kernels_and_maps_of_noise_may_differ_between_items(prior: LatentPrior) -> None:
    generator = torch.Generator().manual_seed(3)
    kernels = torch.cat([kernel(0.6), kernel(1.2)])
    sigma = 0.01 + 0.03 * torch.rand(2, 1, SIDE - 6, SIDE - 6, generator=generator)
    together = SensorPhysics(kernels, SignalDependentNoise(sigma, torch.tensor([0.0])), 3)
    y = together(scene(2), seed=1)
    model = VBLE(prior, FitSettings(iterations=3, samples=2, lattices=1))
    both = model.fit(y, together).moments(2)
    for k in range(2):
        physics = SensorPhysics(kernels[k : k + 1], SignalDependentNoise(sigma[k : k + 1], torch.tensor([0.0])), 3)
        alone = model.fit(y[k : k + 1], physics).moments(2)
        torch.testing.assert_close(both.mean[k : k + 1], alone.mean, rtol=0, atol=1e-5)
        torch.testing.assert_close(both.std[k : k + 1], alone.std, rtol=1e-3, atol=0)


def test_the_families_agree_within_the_noise(prior: LatentPrior) -> None:
    physics, x = make("denoising"), scene()
    y = physics(x)
    means = [
        VBLE(prior, FitSettings(family=f, method=m, samples=16, lattices=1)).fit(y, physics).moments(16)
        for f, m in (("uniform", "vble"), ("gaussian", "vble"), ("auto", "map"))
    ]
    for other in means[1:]:
        assert (other.mean - means[0].mean).square().mean() < 0.5 * (y - x).square().mean()
    torch.testing.assert_close(means[1].std.mean(), means[0].std.mean(), rtol=0.15, atol=0)


def test_deepinv_runs_each_method_on_a_batch_of_a_downsampling(prior: LatentPrior) -> None:
    for method in ("vble-xz", "vble", "map"):
        model = VBLE(prior, FitSettings(method=method, samples=2, lattices=1))
        results = deepinv.test(
            model, torch.utils.data.DataLoader([{"x": v} for v in scene(2)], batch_size=2), make("downsampling"),
            metrics=[deepinv.loss.metric.PSNR()], online_measurements=True, compare_no_learning=False,
            verbose=False, show_progress_bar=False, non_blocking_transfers=False,
        )  # fmt: skip
        assert results["PSNR"] > 25


def test_expected_deviation_is_the_error_of_the_linear_estimate_on_typical_scenes() -> None:
    """Scenes drawn with the typical spectrum: what the first estimate leaves is what is expected of it."""
    generator, level, side = torch.Generator().manual_seed(8), 0.4, 256
    radius = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    power = scene_spectrum(radius, torch.tensor(level))
    white = torch.randn(4, 1, side, side, generator=generator)
    x = level + torch.fft.irfft2(torch.fft.rfft2(white) * power.sqrt(), s=(side, side))
    for sigma, psf in ((0.005, 0.4), (0.005, 1.0), (0.03, 0.7)):
        physics = operators.BlurFFT((1, side, side), kernel(psf), noise_model=noise(sigma))
        pieces = measurements(physics(x), physics)
        levels = torch.full((4,), level)
        expected = expected_deviation(pieces, levels, x.shape)
        found = (gaussian_estimate(pieces, levels, x.shape) - x).square().mean().sqrt()
        torch.testing.assert_close(expected, found.expand(4), rtol=0.1, atol=0)
        sensor = SensorPhysics(kernel(psf), SignalDependentNoise(torch.tensor([sigma]), torch.tensor([0.0])))
        assert sensor_deviation(sensor, level, 1) == pytest.approx(float(found), rel=0.1)


def test_of_little_data_the_prior_is_believed_more() -> None:
    prior = load_prior("pan")
    x = scene()

    def weight(physics: Any, y: Tensor | TensorList, given: float | None = None) -> float:
        return VBLE(prior, FitSettings(iterations=1, weight=given)).fit(y, physics).weight

    half, whole = make("downsampling"), make("blur circular")
    assert weight(half, half(x)) == 1.5
    assert weight(whole, whole(x)) == 1.0
    assert weight(half, half(x), 0.8) == 0.8
    many = operators.StackedLinearPhysics([half, half, half])
    assert weight(many, many(x)) == 1.0  # three quarters
    model = SignalDependentNoise(torch.tensor([0.01]), torch.tensor([0.0]))
    for factor, expected in ((1, 1.0), (2, 1.5)):
        sensor = SensorPhysics(kernel(), model, 40, factor)  # a small tile with a wide margin, which does not count
        assert weight(sensor, torch.full((1, 1, 40, 40), 0.4)) == expected
