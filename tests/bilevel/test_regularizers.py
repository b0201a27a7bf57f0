"""Operators and regularisers against adjoints, differences and bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from imaging.bilevel import Differences, FilterBank
from imaging.bilevel.operators import BORDERS, Analysis
from tests.bilevel.models import images, regularizers

NAMES = list(regularizers())


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operators() -> dict[str, Analysis]:
    filters = random(4, 2, 5, 5, seed=3)
    return {"differences": Differences()} | {border: FilterBank(filters, border) for border in BORDERS}


@pytest.mark.parametrize("name", ["differences", *BORDERS])
@pytest.mark.parametrize(("height", "width"), [(9, 12), (6, 7), (20, 5)])
def test_adjoints_at_every_border(name: str, height: int, width: int) -> None:
    operator, x = operators()[name], random(2, 2, height, width, seed=0)
    response = operator.forward(x)
    u = random(*response.shape, seed=1)
    assert float((response * u).sum()) == pytest.approx(float((x * operator.adjoint(u, x.shape)).sum()), rel=1e-12)
    if name not in {"valid"}:
        assert response.shape[-2:] == x.shape[-2:]


@pytest.mark.parametrize("name", ["differences", *BORDERS])
def test_norms_are_bounded_and_not_by_much(name: str) -> None:
    operator, shape = operators()[name], torch.Size((1, 2, 40, 41))
    x = random(*shape, seed=0)
    for _ in range(100):
        x = operator.adjoint(operator.forward(x), shape)
        value = float(x.norm())
        x = x / value
    assert value <= operator.squared_norm() * (1 + 1e-9)
    slack = {"differences": 1.01, "valid": 1.4, "zero": 1.4, "circular": 1.4}.get(name, 16)
    assert operator.squared_norm() < slack * value


def test_reflection_wants_enough_pixels() -> None:
    with pytest.raises(ValueError, match="an axis of 2 pixels cannot be reflected by 2"):
        FilterBank(random(1, 1, 5, 5, seed=0), "reflect").forward(random(1, 1, 2, 9, seed=0))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_those_of_the_energy(name: str) -> None:
    regularizer, theta = regularizers()[name]
    x = images(2, 12, channels=3 if "colour" in name else 1).requires_grad_()
    theta = theta.requires_grad_()
    energy = regularizer.fn(x, theta)
    assert energy.shape == (2,)
    (by_autograd,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
    gradient = regularizer.grad(x, theta)
    torch.testing.assert_close(gradient, by_autograd, rtol=1e-9, atol=1e-12)
    v, q = (random(*x.shape, seed=k) for k in (4, 5))
    (product,) = torch.autograd.grad((by_autograd * v).sum(), x, retain_graph=True)
    torch.testing.assert_close(regularizer.hessian(x, v, theta), product, rtol=1e-9, atol=1e-11)
    (mixed,) = torch.autograd.grad((by_autograd * q).sum(), theta)
    torch.testing.assert_close(regularizer.mixed_adjoint(x, q, theta), mixed, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_hessians_are_symmetric_positive_and_bounded(name: str) -> None:
    regularizer, theta = regularizers()[name]
    shape = (1, 3 if "colour" in name else 1, 24, 24)
    x = torch.full(shape, 0.5, dtype=torch.float64) + 1e-4 * random(*shape, seed=0)  # flat: curvature is largest there
    v, w = random(*shape, seed=1), random(*shape, seed=2)
    left, right = (float((a * regularizer.hessian(x, b, theta)).sum()) for a, b in ((v, w), (w, v)))
    assert left == pytest.approx(right, rel=1e-10)
    assert float((v * regularizer.hessian(x, v, theta)).sum()) > 0
    for _ in range(60):
        v = regularizer.hessian(x, v, theta)
        value = float(v.norm())
        v = v / value
    assert value <= regularizer.curvature(theta)


def test_filters_have_no_mean_and_unit_length() -> None:
    regularizer, theta = regularizers()["foe valid"]
    kernels = regularizer.kernels(theta)  # type: ignore[attr-defined]
    assert float(kernels.mean((2, 3)).abs().max()) < 1e-15
    torch.testing.assert_close(kernels.square().sum((1, 2, 3)), torch.ones(5, dtype=torch.float64))
    flat = torch.full((1, 1, 9, 9), 0.3, dtype=torch.float64)
    assert float(regularizer.energy(flat, theta)) == pytest.approx(0, abs=1e-12)
