"""Log-probabilities against exact arithmetic and against compressai's own."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from imaging.priors.factorized import FactorizedDensity
from imaging.priors.rate import SCALE_BOUND, bounded, log_bottleneck, log_uniform_gaussian, nats_to_bits


def exact(z: float, mean: float, scale: float) -> float:
    """Log-density in 50 digits."""
    with mpmath.workdps(50):
        upper, lower = ((mpmath.mpf(0.5) * sign - abs(mpmath.mpf(z) - mean)) / scale for sign in (1, -1))
        return float(mpmath.log(mpmath.ncdf(upper) - mpmath.ncdf(lower)))


def test_density_is_that_of_scipy_near_the_mean() -> None:
    rng = np.random.default_rng(0)
    mean, scale = rng.normal(size=500), rng.uniform(0.2, 4, 500)
    z = mean + scale * rng.uniform(-3, 3, 500)
    expected = np.log(norm.cdf(z + 0.5, mean, scale) - norm.cdf(z - 0.5, mean, scale))
    found = log_uniform_gaussian(*(torch.from_numpy(a) for a in (z, mean, scale)))
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [0.11, 0.5, 3.0, 200.0])
@pytest.mark.parametrize("distance", [0.0, 0.3, 0.5, 2.0, 30.0, 1000.0])
def test_density_is_exact_in_the_tails(scale: float, distance: float) -> None:
    for sign in (1.0, -1.0):
        z = torch.tensor([0.25 + sign * distance], dtype=torch.float64)
        found = log_uniform_gaussian(z, torch.full_like(z, 0.25), torch.full_like(z, scale))
        assert float(found) == pytest.approx(exact(float(z), 0.25, scale), rel=1e-9)
        assert float(log_uniform_gaussian(z.float(), torch.tensor(0.25), torch.tensor(scale))) == pytest.approx(float(found), rel=1e-3)


def test_density_integrates_to_one() -> None:
    for scale in (0.11, 0.7, 5.0):
        z = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
        density = log_uniform_gaussian(z, torch.tensor(0.3, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)).exp()
        assert float(torch.trapezoid(density, z)) == pytest.approx(1, abs=1e-7)


def test_scale_is_bounded_below() -> None:
    z = torch.linspace(-2, 2, 9)
    assert torch.equal(log_uniform_gaussian(z, torch.zeros(9), torch.full((9,), 0.01)), log_uniform_gaussian(z, 0 * z, 0 * z + SCALE_BOUND))


@pytest.mark.parametrize(("distance", "scale"), [(2.4, 0.12), (20.0, 1.0), (1990.0, 100.0), (1000.0, 0.12), (1000.0, 1.0)])
def test_gradient_is_alive_far_from_the_mean(distance: float, scale: float) -> None:
    for sign in (1.0, -1.0):
        z, mean, s = (torch.tensor([v], requires_grad=True) for v in (sign * distance, 0.0, scale))
        log_uniform_gaussian(z, mean, s).sum().backward()
        step = 1e-4 * distance
        slope = (exact(distance + step, 0.0, scale) - exact(distance - step, 0.0, scale)) / (2 * step)
        assert z.grad is not None
        assert mean.grad is not None
        assert s.grad is not None
        assert float(z.grad) == pytest.approx(sign * slope, rel=2e-3)
        assert float(mean.grad) == pytest.approx(-sign * slope, rel=2e-3)
        assert float(s.grad) > 0
        assert math.isfinite(float(s.grad))


def test_pytorchs_own_gradient_is_wrong_in_the_tails() -> None:
    """The defect that the room works around; when this fails, the work-around can go."""
    x = torch.tensor([-9000.0], requires_grad=True)
    (own,) = torch.autograd.grad(torch.special.log_ndtr(x), x)
    assert abs(float(own) / 9000.0 - 1) > 0.1  # the hazard of a normal far out is its distance


def test_gradient_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    z, mean = (3 * torch.randn(20, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scale = (0.2 + torch.rand(20, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(log_uniform_gaussian, (z, mean, scale))


def bottleneck() -> FactorizedDensity:
    torch.manual_seed(3)
    return FactorizedDensity(4).eval()


def own_likelihood(density: FactorizedDensity, h: Tensor) -> Tensor:
    """Likelihood by compressai of ``h`` as it is, with its floor of 1e-9."""
    model = pytest.importorskip("compressai.entropy_models").EntropyBottleneck(4).to(h.dtype).eval()
    model.load_state_dict(density.state_dict(), strict=False)
    values = h.permute(1, 0, 2, 3).reshape(4, 1, -1)
    likelihood = model.likelihood_lower_bound(model._likelihood(values)[0])
    return likelihood.reshape(4, h.shape[0], *h.shape[2:]).permute(1, 0, 2, 3)


def test_bottleneck_is_compressais_where_that_has_no_floor() -> None:
    model = bottleneck().double()
    h = 12 * torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    own = own_likelihood(model, h)
    clear = own > 1e-7
    assert clear.float().mean() > 0.9
    assert torch.allclose(log_bottleneck(model, h)[clear], own.log()[clear], rtol=1e-6)


def test_bottleneck_integrates_to_one() -> None:
    h = torch.arange(-4000, 4001, dtype=torch.float64).reshape(1, 1, 1, -1).expand(1, 4, 1, -1) + 0.2
    total = log_bottleneck(bottleneck().double(), h).exp().sum(-1)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


def test_gradient_of_the_bottleneck_is_alive_where_compressais_is_dead() -> None:
    model = bottleneck()
    for place in (-3000.0, 3000.0):
        h = torch.full((1, 4, 1, 1), place, requires_grad=True)
        (dead,) = torch.autograd.grad(-own_likelihood(model, h).log().sum(), h)
        assert not dead.any()  # the defect that log_bottleneck works around
        (alive,) = torch.autograd.grad(-log_bottleneck(model, h).sum(), h)
        assert torch.isfinite(alive).all()
        assert (alive * place > 1e-2).all()  # a step against the gradient leads back


def test_gradient_of_the_bottleneck_agrees_with_finite_differences() -> None:
    model = bottleneck().double()
    h = (8 * torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: log_bottleneck(model, v), (h,))


def test_a_fair_coin_is_one_bit() -> None:
    assert float(nats_to_bits(-torch.log(torch.tensor(0.5)))) == pytest.approx(1)


def test_bounds_keep_the_slope_that_leads_back_near_them_and_no_other() -> None:
    x = torch.tensor([-1.5, -1.5, 0.5, 2.5, 2.5, -9.0, -1.0], dtype=torch.float64, requires_grad=True)
    wanted = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0])  # up the slope; a descent goes the other way
    value = bounded(x, -1.0, 2.0, reach=0.5)
    assert value.tolist() == [-1.0, -1.0, 0.5, 2.0, 2.0, -1.0, -1.0]
    (value * wanted).sum().backward()
    assert x.grad is not None
    near = math.exp(-1)
    assert x.grad.tolist() == pytest.approx([0.0, -near, 1.0, near, 0.0, -math.exp(-16), -1.0])


def test_a_scale_that_crosses_its_bound_changes_no_slope_of_an_improbable_value() -> None:
    slopes = []
    for place in (-1e-5, 1e-5):
        scale = torch.tensor(SCALE_BOUND + place, dtype=torch.float64, requires_grad=True)
        cost = -log_uniform_gaussian(torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64), scale)
        cost.backward()
        assert scale.grad is not None
        slopes.append(float(scale.grad))
    assert slopes[0] < -100, "the value is far out: a wider density is wanted"
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)
