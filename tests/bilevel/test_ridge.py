"""Ridge regularisers: filters in layers, learned potential, bounds that hold whatever the parameters, scales that follow the noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from imaging.bilevel import LowerLevel, RidgeRegularizer
from imaging.bilevel.potentials import piecewise, smoothed_slope
from imaging.bilevel.ridge import MultiConvolution
from imaging.bilevel.splines import SplinePotential
from tests.bilevel.models import images


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_layers_act_as_one_filter_and_have_an_adjoint() -> None:
    analysis, x = MultiConvolution([random(2, 1, 3, 3, seed=0), random(5, 2, 5, 5, seed=1)]), random(2, 1, 14, 17, seed=2)
    response = analysis.forward(x)
    torch.testing.assert_close(response, torch.nn.functional.conv2d(x, analysis.combined()))
    u = random(*response.shape, seed=3)
    assert float((response * u).sum()) == pytest.approx(float((x * analysis.adjoint(u, x.shape)).sum()), rel=1e-12)
    for k, gradient in enumerate(analysis.layer_gradients(x, u)):
        layers = [layer.clone().requires_grad_() for layer in analysis.layers]
        (wanted,) = torch.autograd.grad((MultiConvolution(layers).forward(x) * u).sum(), layers[k])
        torch.testing.assert_close(gradient, wanted)


def test_a_profile_is_the_integral_of_its_second_derivative() -> None:
    profile = SplinePotential(random(9, seed=0), 0.25)
    s = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    first, second, value = profile.first(s), profile.second(s), profile.value(s)
    step = float(s[1] - s[0])
    torch.testing.assert_close((first[2:] - first[:-2]) / (2 * step), second[1:-1], rtol=0, atol=1e-3)
    torch.testing.assert_close((value[2:] - value[:-2]) / (2 * step), first[1:-1], rtol=0, atol=1e-5)
    torch.testing.assert_close(first, -first.flip(0), rtol=0, atol=1e-14)
    assert float(second[s.abs() > 9.6 * 0.25].abs().max()) == 0
    assert float(second.max()) <= float(profile.coefficients.max())
    assert float(second.min()) >= float(profile.coefficients.min())


@pytest.mark.parametrize(("weak", "lowest"), [(0.0, 0.0), (0.8, 0.0), (0.8, -8.0)])
def test_bounds_hold_whatever_the_parameters(weak: float, lowest: float) -> None:
    ridge = RidgeRegularizer(weak, widths=(3, 6), kernel=3, nodes=10, reach=2.0, steepest=20.0)
    theta = ridge.start(1).double() + 3 * random(ridge.size, seed=2)
    if lowest:
        theta[ridge.groups()["potential"]] = lowest
    x = images(1, 24)
    largest, least = -1.0, 0.0
    for shift, sign in ((0.0, 1.0), (20.0, -1.0)):  # power iterations towards the largest, and from there towards the least eigenvalue
        v = random(*x.shape, seed=3)
        for _ in range(80):
            v = v / v.norm()
            v = sign * ridge.hessian(x, v, theta) + shift * v
        value = float((v / v.norm() * ridge.hessian(x, v / v.norm(), theta)).sum())
        largest, least = max(largest, value), min(least, value)
    assert largest <= ridge.curvature(theta) * (1 + 1e-9)
    assert ridge.curvature(theta) <= 20
    assert least >= -weak - 1e-9
    if lowest:
        assert least < -0.5 * weak, "the bound is used"


def test_scales_follow_the_noise() -> None:
    ridge = RidgeRegularizer(widths=(3, 6), kernel=3, nodes=10, reach=2.0)
    theta, y = ridge.start(1).double(), images(1, 20) + 0.1 * random(1, 1, 20, 20, seed=5)
    ridge.noise = 0.1
    one = LowerLevel(ridge).solve(y, theta, 1e-9).x
    ridge.noise = 0.03
    scaled = LowerLevel(ridge).solve(0.3 * y, theta, 1e-9).x
    torch.testing.assert_close(scaled, 0.3 * one, rtol=0, atol=1e-7)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pieces_are_the_whole(layout: torch.memory_format) -> None:
    t = torch.randn(1, 12, 250, 260).contiguous(memory_format=layout)
    smoothing, weight = torch.rand(12, 1, 1) + 0.1, torch.rand(12, 1, 1)
    torch.testing.assert_close(piecewise(smoothed_slope, t, smoothing, weight), smoothed_slope(t, smoothing, weight))
