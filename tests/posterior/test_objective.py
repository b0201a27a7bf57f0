"""The objective itself: its gradient for each noise model, and the evidence that it bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from deepinv import physics as operators
from torch import Tensor

from imaging.draws import antithetic, position_key
from imaging.posterior import VBLE, FitSettings
from imaging.posterior.families import Gaussian, Uniform
from imaging.posterior.running import FitInputs
from imaging.priors import Latents
from imaging.sensors import SensorPhysics, SignalDependentNoise
from tests.posterior.models import LinearPrior
from tests.priors.models import tiny
from tests.scenes import smooth

NOISE = {
    "signal-dependent": lambda: SignalDependentNoise(torch.tensor([0.02]), torch.tensor([0.001])),
    "a map": lambda: SignalDependentNoise(
        0.01 + 0.02 * torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(0)), torch.zeros(1)
    ),
    "gaussian": lambda: operators.GaussianNoise(0.03),
    "poisson-gaussian": lambda: operators.PoissonGaussianNoise(gain=0.001, sigma=0.02),
    "poisson": lambda: operators.PoissonNoise(0.001),
}


def noise_of(problem: FitInputs, family: Any, index: int = 0) -> Tensor:
    key = position_key(family.centre.shape, problem.origins, problem.seed, "z", family.centre.device)
    return antithetic(key, index, family.centre.dtype)


@pytest.mark.parametrize("kind", [Uniform, Gaussian])
@pytest.mark.parametrize("name", NOISE)
def test_gradient_agrees_with_finite_differences(name: str, kind: Any) -> None:
    psf = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    physics = SensorPhysics(psf / psf.sum(), SignalDependentNoise(torch.ones(1), torch.ones(1)), 2)
    physics.set_noise_model(NOISE[name]())
    y = torch.from_numpy(smooth(1, 40, 48)[:, None] / 4095)
    running = VBLE(tiny().double(), FitSettings()).begin(y, physics, rate_scale=0.8)
    problem, (main, hyper) = running.problem, running.densities()
    noise = (noise_of(problem, main), noise_of(problem, hyper))
    start = [v.detach().clone() for v in (main.centre, hyper.centre, main.log_width, hyper.log_width)]  # type: ignore[union-attr]

    def objective(z: Tensor, h: Tensor, wide: Tensor, hyper_wide: Tensor) -> Tensor:
        return problem.objective(kind(z, wide - 1), kind(h, hyper_wide - 1), noise).sum()

    leaves = [v.requires_grad_() for v in start]
    gradients = torch.autograd.grad(objective(*leaves), leaves)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(4):
            directions = [torch.randn(v.shape, generator=generator, dtype=torch.float64) for v in leaves]
            step = 1e-6
            ahead, behind = (objective(*(v + s * d for v, d in zip(leaves, directions, strict=True))) for s in (step, -step))
            slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
            assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-5)


class DiagonalPrior(LinearPrior):
    """Each latent is a pixel, so that the posterior of a denoising problem has independent latents."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
        weight[:, :, 1, 1] = 0.3 * torch.eye(4)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def encode(self, x: Tensor) -> Latents:
        """A start that knows nothing."""
        height, width = x.shape[-2:]
        return Latents(x.new_zeros(len(x), 4, height // 2, width // 2), x.new_zeros(len(x), 1, height // 4, width // 4))


def test_objective_is_the_evidence_where_the_family_contains_the_posterior_and_more_elsewhere() -> None:
    sigma, side = 0.1, 16
    generator = torch.Generator().manual_seed(4)
    y = 0.3 * torch.randn(1, 1, side, side, generator=generator, dtype=torch.float64)
    model = VBLE(DiagonalPrior(), FitSettings(family="gaussian"))
    problem = model.begin(y, operators.Denoising(operators.GaussianNoise(sigma)), rate_scale=1.0, border=0).problem
    assert problem.frame[:2] == (0, 0)
    variance = 0.3**2 + sigma**2
    evidence = float((-(y**2) / (2 * variance)).sum() - y.numel() * math.log(2 * math.pi * variance) / 2)
    # The canvas is larger than the scene by room for the lattice: latents there have their prior as posterior.
    canvas = problem.rate_scale.new_zeros(1, 1, side + problem.frame.bottom, side + problem.frame.right)
    canvas[..., :side, :side] = y
    seen = torch.zeros_like(canvas)
    seen[..., :side, :side] = 1
    precision = 1 + torch.nn.functional.pixel_unshuffle(seen, 2) * 0.3**2 / sigma**2
    centre = torch.nn.functional.pixel_unshuffle(canvas, 2) * 0.3 / sigma**2 / precision
    hyper = Gaussian(torch.zeros(1, 1, *(n // 4 for n in canvas.shape[2:]), dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    hyper = Gaussian(hyper.centre, hyper.centre)

    def expected(mean: Tensor, log_std: Tensor) -> tuple[float, float]:
        main = Gaussian(mean, log_std)
        values = [
            float(problem.objective(main, hyper, (noise_of(problem, main, 2 * k), noise_of(problem, hyper, 2 * k)))) for k in range(600)
        ]
        found = torch.tensor(values, dtype=torch.float64)
        return float(found.mean()), float(found.std()) / math.sqrt(len(found))

    exact = -0.5 * precision.log()
    tight, error = expected(centre, exact)
    assert tight == pytest.approx(-evidence, abs=4 * error)
    assert error < 1.5
    for mean, log_std in ((centre, exact + 0.3), (centre, exact - 0.3), (centre + 0.2 * exact.exp(), exact)):
        loose, error = expected(mean, log_std)
        assert loose > -evidence + 4 * error
