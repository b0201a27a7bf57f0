"""The likelihood against scipy and finite differences."""

from __future__ import annotations

from typing import Any

import deepinv
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from imaging.posterior import SensorLikelihood
from imaging.sensors import SensorPhysics, SignalDependentNoise
from imaging.sensors.noise import noise_variance

SIGMA, GAIN = 0.0625, 0.03125  # exact in float32


def models() -> dict[str, Any]:
    return {
        "signal-dependent": SignalDependentNoise(torch.tensor([SIGMA, 2 * SIGMA]), torch.tensor([GAIN, GAIN])),
        "gaussian": deepinv.physics.GaussianNoise(SIGMA),
        "poisson-gaussian": deepinv.physics.PoissonGaussianNoise(gain=GAIN, sigma=SIGMA),
    }


def variance(name: str, signal: Tensor) -> Tensor:
    sigma = torch.tensor([SIGMA, 2 * SIGMA] if name == "signal-dependent" else [SIGMA, SIGMA], dtype=torch.float64)[:, None, None]
    return sigma**2 + (0 if name == "gaussian" else GAIN) * signal


def setup(name: str) -> tuple[SensorPhysics, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    psf = torch.rand(1, 2, 3, 3, generator=generator, dtype=torch.float64)
    physics = SensorPhysics(psf / psf.sum((-2, -1), keepdim=True), SignalDependentNoise(torch.ones(2), torch.ones(2)))
    physics.set_noise_model(models()[name])
    x = 0.2 + torch.rand(2, 2, 7, 8, generator=generator, dtype=torch.float64)
    y = physics.A(x) + 0.1 * torch.randn(2, 2, 5, 6, generator=generator, dtype=torch.float64)
    return physics, x, y


@pytest.mark.parametrize("name", models())
def test_value_is_that_of_scipy(name: str) -> None:
    physics, x, y = setup(name)
    signal = physics.A(x)
    expected = -norm.logpdf(y.numpy(), signal.numpy(), variance(name, signal).sqrt().numpy()).sum((1, 2, 3))
    assert SensorLikelihood().fn(x, y, physics).tolist() == pytest.approx(expected.tolist(), rel=1e-10)


@pytest.mark.parametrize("name", models())
def test_gradient_agrees_with_finite_differences(name: str) -> None:
    physics, x, y = setup(name)
    likelihood = SensorLikelihood()
    assert torch.autograd.gradcheck(lambda v: likelihood.fn(v, y, physics), (x.clone().requires_grad_(),))
    gradient, step = likelihood.grad(x, y, physics), 1e-6
    for place in ((0, 0, 3, 4), (1, 1, 0, 0), (1, 0, 6, 7)):
        shift = torch.zeros_like(x)
        shift[place] = step
        difference = likelihood.fn(x + shift, y, physics).sum() - likelihood.fn(x - shift, y, physics).sum()
        assert float(gradient[place]) == pytest.approx(float(difference) / (2 * step), rel=1e-5, abs=1e-6)


def test_log_determinant_penalises_bright_scenes() -> None:
    """Where the data fit exactly, only the log-determinant is left: half the logarithm of the ratio of variances."""
    physics, x, _ = setup("signal-dependent")
    likelihood = SensorLikelihood()
    dark, bright = (likelihood.fn(v, physics.A(v), physics) for v in (x, 4 * x))
    expected = 0.5 * (variance("signal-dependent", 4 * physics.A(x)) / variance("signal-dependent", physics.A(x))).log().sum((1, 2, 3))
    assert (bright - dark).tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_masked_pixels_have_no_influence() -> None:
    physics, x, y = setup("signal-dependent")
    mask = torch.ones_like(y)
    mask[:, :, 1:3, 2:5] = 0
    junk = torch.where(mask > 0, y, -32768.0)
    likelihood = SensorLikelihood()
    assert torch.equal(likelihood.fn(x, y, physics, mask=mask), likelihood.fn(x, junk, physics, mask=mask))
    assert torch.equal(likelihood.grad(x, y, physics, mask=mask), likelihood.grad(x, junk, physics, mask=mask))
    signal = physics.A(x)
    logpdf = norm.logpdf(y.numpy(), signal.numpy(), variance("signal-dependent", signal).sqrt().numpy()) * mask.numpy()
    assert likelihood.fn(x, junk, physics, mask=mask).tolist() == pytest.approx((-logpdf.sum((1, 2, 3))).tolist(), rel=1e-10)
    # The centre of a masked patch as large as the kernel is not seen at all.
    assert not likelihood.grad(x, y, physics, mask=torch.zeros_like(y)).any()


@pytest.mark.parametrize("name", models())
def test_variance_is_that_of_the_noise_model(name: str) -> None:
    physics, _, _ = setup(name)
    signal = torch.full((4000, 2, 5, 6), 0.5, dtype=torch.float64)
    torch.manual_seed(0)
    drawn = physics.noise_model(signal.float()).var((0, 2, 3))
    assert drawn.tolist() == pytest.approx(noise_variance(physics, signal)[0, :, 0, 0].tolist(), rel=0.03)


def test_noise_free_measurements_stay_finite() -> None:
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.0))
    assert float(noise_variance(physics, torch.zeros(1, 1, 1, 1))) == pytest.approx(1e-8)


def test_parameters_of_each_item_are_used() -> None:
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(torch.tensor([0.1, 0.2])))
    assert noise_variance(physics, torch.zeros(2, 3, 4, 5))[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.04])


def test_unknown_noise_names_the_remedy() -> None:
    physics = deepinv.physics.Denoising(deepinv.physics.UniformNoise(0.1))
    with pytest.raises(TypeError, match=r"noise model is UniformNoise; accepted are .* set one with physics.set_noise_model"):
        noise_variance(physics, torch.zeros(1, 1, 1, 1))
