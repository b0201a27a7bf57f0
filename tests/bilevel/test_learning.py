"""Certified solves, derivatives through them, and MAID's promise."""

from __future__ import annotations

import math
from itertools import pairwise

import deepinv
import pytest
import torch

from imaging.bilevel import (
    BilevelProblem,
    HoagSettings,
    LowerLevel,
    MaidSettings,
    TotalVariation,
    check_hypergradient,
    conjugate_gradients,
    estimated_error,
    hoag,
    hypergradient,
    maid,
    minimiser,
)
from imaging.bilevel.lower_level import norms
from tests.bilevel.models import Quadratic, images, regularizers


def problem(name: str = "tv", count: int = 3, side: int = 14) -> tuple[BilevelProblem, torch.Tensor]:
    regularizer, theta = regularizers()[name]
    truth = images(count, side)
    noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(7), dtype=truth.dtype)
    return BilevelProblem(LowerLevel(regularizer), truth + noise, truth), theta


def test_the_certified_distance_holds_on_a_hundred_problems() -> None:
    y = images(100, 12, seed=3)
    for k, accuracy in enumerate((1e-1, 1e-3, 1e-6)):
        theta = torch.tensor([float(k) - 1.0], dtype=torch.float64)
        solution = LowerLevel(Quadratic()).solve(y, theta, accuracy, torch.zeros_like(y))
        distance = norms(solution.x - Quadratic.minimiser(y, theta))
        assert solution.converged.all()
        assert (solution.bound <= accuracy).all()
        assert (distance <= solution.bound).all()
        assert (distance > 1e-4 * solution.bound).all(), "the bound says something"


def test_each_image_has_its_accuracy_and_stops_for_itself() -> None:
    bilevel, theta = problem("foe valid", 4)
    wanted = torch.tensor([1e-1, 1e-4, 1e-2, 1e-6], dtype=torch.float64)
    together = bilevel.solve(theta, wanted)
    assert (together.bound <= wanted).all()
    assert int(together.iterations[3]) > int(together.iterations[0])
    for k in range(4):
        alone = bilevel.lower.solve(bilevel.measured[k : k + 1], theta, float(wanted[k]))
        torch.testing.assert_close(alone.x[0], together.x[k], rtol=0, atol=1e-12)
        assert int(alone.iterations) == int(together.iterations[k])


def test_a_solve_that_cannot_be_exact_says_so() -> None:
    bilevel, theta = problem()
    single = bilevel.lower.solve(bilevel.measured.float(), theta.float(), 1e-12)
    assert not single.converged.any()
    exact = bilevel.solve(theta, 1e-10).x
    assert (norms(single.x.double() - exact) <= single.bound.double() + 1e-5).all()
    few = bilevel.lower.solve(bilevel.measured, theta, 1e-9, limit=3)
    assert not few.converged.any()
    assert (norms(few.x - exact) <= few.bound).all()


def test_momentum_beats_plain_descent() -> None:
    bilevel, _ = problem()
    theta = torch.tensor([-2.6, -4.6], dtype=torch.float64)
    solution = bilevel.solve(theta, 1e-3)
    contraction = (1 - 1 / bilevel.lower.smoothness(theta)) ** int(solution.iterations.max())
    assert contraction > 0.1, "as many steps of gradient descent would not have shrunk the distance to a tenth"


def test_an_operator_needs_a_ridge_and_works_with_one() -> None:
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64) / 16
    kernel = torch.outer(taps, taps)[None, None]
    blur = deepinv.physics.Blur(kernel, padding="circular")
    with pytest.raises(ValueError, match="a ridge above 0"):
        LowerLevel(TotalVariation(), blur)
    truth = images(2, 16)
    bilevel = BilevelProblem(LowerLevel(TotalVariation(), blur, ridge=0.01, norm=1.0), blur.A(truth), truth)
    theta = torch.tensor([-5.0, -3.0], dtype=torch.float64)
    coarse, fine = bilevel.solve(theta, 1e-2), bilevel.solve(theta, 1e-8)
    assert fine.converged.all()
    assert (norms(coarse.x - fine.x) <= coarse.bound).all()
    assert check_hypergradient(bilevel, theta) < 1e-6


@pytest.mark.parametrize("name", ["tv", "tv anisotropic", "foe valid", "foe reflect"])
def test_hypergradients_are_those_of_finite_differences(name: str) -> None:
    bilevel, theta = problem(name)
    assert check_hypergradient(bilevel, theta) < 1e-6


def test_any_loss_and_optimiser_of_torch_can_sit_on_top() -> None:
    bilevel, theta = problem()
    theta = theta.clone().requires_grad_()
    x = minimiser(bilevel.lower, bilevel.measured, theta, 1e-9, 1e-10)
    (x - bilevel.truth).square().sum().div(2 * len(x)).backward()
    solution = bilevel.solve(theta.detach(), 1e-9)
    expected = hypergradient(bilevel.lower, solution, theta.detach(), solution.x - bilevel.truth, 1e-10).z
    assert theta.grad is not None
    torch.testing.assert_close(theta.grad, expected, rtol=1e-6, atol=1e-12)
    optimiser = torch.optim.Adam([theta], lr=0.1)
    before = bilevel.loss(solution)
    for _ in range(5):
        optimiser.zero_grad()
        (minimiser(bilevel.lower, bilevel.measured, theta, 1e-4) - bilevel.truth).square().sum().backward()
        optimiser.step()
    assert bilevel.loss(bilevel.solve(theta.detach(), 1e-6)) < before


def test_conjugate_gradients_find_indefinite_systems_and_refuse_to_do_nothing() -> None:
    diagonal = torch.linspace(1, 5, 16, dtype=torch.float64).reshape(1, 1, 4, 4).repeat(2, 1, 1, 1)
    diagonal[1, 0, 0, 0] = -3.0
    rhs = torch.ones_like(diagonal)
    found = conjugate_gradients(lambda v: diagonal * v, rhs, 1e-10)
    assert found.indefinite.tolist() == [False, True]
    torch.testing.assert_close(found.q[0], rhs[0] / diagonal[0])
    assert float(found.residual[0]) < 1e-9
    with pytest.raises(ValueError, match="relative to the right-hand side"):
        conjugate_gradients(lambda v: diagonal * v, rhs, 1.0)


def test_the_loss_lies_in_its_interval() -> None:
    bilevel, theta = problem("foe valid")
    exact = bilevel.loss(bilevel.solve(theta, 1e-10))
    widths = []
    for accuracy in (1.0, 1e-1, 1e-3):
        low, high = bilevel.interval(bilevel.solve(theta, accuracy))
        assert low <= exact <= high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("accuracy", [1e1, 1e0, 1e-3])
def test_accepted_steps_decrease_the_exact_loss_whatever_the_first_accuracy(accuracy: float) -> None:
    bilevel, _ = problem()
    theta = torch.tensor([-5.0, -5.0], dtype=torch.float64)
    visited = [theta]
    learned = maid(bilevel, theta, MaidSettings(accuracy=accuracy), iterations=15, progress=lambda _, t: visited.append(t))
    assert len(learned.history) == 15
    exact = [bilevel.loss(bilevel.solve(t, 1e-9)) for t in visited]
    assert all(b < a for a, b in pairwise(exact))
    assert all(s.low <= f <= s.high for s, f in zip(learned.history, exact[1:], strict=True))
    assert exact[-1] < 0.9 * exact[0]


def test_maid_finds_the_best_weight_of_the_quadratic() -> None:
    truth = images(2, 12, seed=5)
    noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1), dtype=truth.dtype)
    bilevel = BilevelProblem(LowerLevel(Quadratic()), truth + noise, truth)

    def loss(weight: float) -> float:
        x = Quadratic.minimiser(bilevel.measured, torch.tensor([weight], dtype=torch.float64))
        return float(0.5 * norms(x - truth).square().mean())

    low, high = -6.0, 4.0  # golden section on the closed form
    for _ in range(80):
        a, b = (low + f * (high - low) for f in ((3 - math.sqrt(5)) / 2, (math.sqrt(5) - 1) / 2))
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    learned = maid(
        bilevel, torch.tensor([-4.0], dtype=torch.float64), MaidSettings(accuracy=0.1, floor=1e-12), iterations=300, gradient_tolerance=1e-8
    )
    assert learned.status == "converged"
    assert float(learned.theta) == pytest.approx((low + high) / 2, abs=1e-5)
    assert loss(float(learned.theta)) <= loss((low + high) / 2) * (1 + 1e-6)


def test_work_is_counted_and_a_budget_is_kept() -> None:
    bilevel, theta = problem()
    bilevel.solve(theta, 1e-3)
    assert bilevel.lower.cost.gradients == int(bilevel.solve(theta, 1e-3).iterations.sum())
    learned = maid(bilevel, theta, budget=2000)
    assert learned.status == "budget"
    assert learned.history[-1].cost <= bilevel.lower.cost.total


@pytest.mark.parametrize("accuracy", [1e-1, 1e-2, 1e-3])
def test_the_error_of_a_hypergradient_is_estimated(accuracy: float) -> None:
    bilevel, theta = problem()
    exact = bilevel.solve(theta, 1e-11)
    truth = hypergradient(bilevel.lower, exact, theta, exact.x - bilevel.truth, 1e-12).z
    coarse = bilevel.solve(theta, accuracy, torch.zeros_like(bilevel.truth))
    found = hypergradient(bilevel.lower, coarse, theta, coarse.x - bilevel.truth, min(0.5, accuracy))
    estimate = estimated_error(bilevel.lower, coarse, bilevel.measured, bilevel.truth, theta, found)
    error = found.z - truth
    assert float(error.norm()) > 1e-6 * float(truth.norm())
    assert float(estimate @ error) > 0.8 * float(estimate.norm() * error.norm()), "the direction is right"
    assert 0.5 < float(estimate.norm() / error.norm()) < 1.5


@pytest.mark.parametrize("schedule", ["geometric", "quadratic", "cubic", "fixed"])
def test_hoag_lowers_the_loss(schedule: str) -> None:
    bilevel, _ = problem()
    theta = torch.tensor([-5.0, -5.0], dtype=torch.float64)
    before = bilevel.loss(bilevel.solve(theta, 1e-8))
    learned = hoag(bilevel, theta, HoagSettings(schedule=schedule, accuracy=0.1), iterations=60)
    assert bilevel.loss(bilevel.solve(learned.theta, 1e-8)) < 0.9 * before
    assert learned.history[-1].cost <= bilevel.lower.cost.total


def test_trials_that_are_refused_are_solved_coarsely() -> None:
    theta, spent = torch.tensor([-3.0, -4.0], dtype=torch.float64), []
    for coarsest in (64.0, 1.0):
        bilevel, _ = problem()
        solution = bilevel.solve(theta, 1e-6)
        length = float(hypergradient(bilevel.lower, solution, theta, solution.x - bilevel.truth, 1e-6).z.norm())
        bilevel, _ = problem()
        settings = MaidSettings(accuracy=1e-4, step=12 / length, coarsest=coarsest, adaptive=False)  # far too long at first
        maid(bilevel, theta, settings, iterations=1)
        spent.append(bilevel.lower.cost.gradients)
    assert spent[0] < 0.8 * spent[1]


def test_minimisers_of_close_parameters_are_found_from_each_other() -> None:
    bilevel, theta = problem()
    near = bilevel.solve(theta, 1e-6)
    cold, warm = (bilevel.solve(theta + 1e-3, 1e-6, start) for start in (None, near.x))
    assert int(warm.iterations.max()) < int(cold.iterations.min())


def test_parameters_gone_astray_are_no_solution() -> None:
    bilevel, _ = problem()
    for theta in ([200.0, -300.0], [float("nan"), 0.0]):
        solution = bilevel.solve(torch.tensor(theta, dtype=torch.float64), 1e-3)
        assert not solution.converged.any()
        assert bilevel.interval(solution)[1] > 1e6


def test_weights_of_pixels_are_those_of_each_image() -> None:
    bilevel, theta = problem("foe valid")
    weight = torch.rand(bilevel.measured.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.5
    weighted = BilevelProblem(LowerLevel(bilevel.lower.regularizer, weight=weight), bilevel.measured, bilevel.truth)
    accuracy = torch.tensor([1e-2, 1e-7, 1e-4], dtype=torch.float64)  # images leave the batch one by one
    solution = weighted.solve(theta, accuracy)
    x = solution.x.clone().requires_grad_()
    energy = 0.5 * (weight * (x - bilevel.measured).square()).sum() + bilevel.lower.regularizer.energy(x, theta).sum()
    (slope,) = torch.autograd.grad(energy, x)
    assert (norms(slope) / float(weight.min()) <= accuracy * (1 + 1e-9)).all()
    assert check_hypergradient(weighted, theta) < 1e-6


def test_masked_pixels_need_a_ridge() -> None:
    bilevel, theta = problem()
    mask = (torch.arange(14) % 3 > 0).double().expand(1, 1, 14, 14)
    with pytest.raises(ValueError, match="a ridge above 0"):
        LowerLevel(bilevel.lower.regularizer, weight=mask)
    with pytest.raises(ValueError, match="must not be negative"):
        LowerLevel(bilevel.lower.regularizer, weight=mask - 1)
    masked = BilevelProblem(LowerLevel(bilevel.lower.regularizer, ridge=1e-3, weight=mask), bilevel.measured, bilevel.truth)
    changed = bilevel.measured + 100 * (1 - mask)
    torch.testing.assert_close(masked.solve(theta, 1e-6).x, masked.lower.solve(changed, theta, 1e-6).x, rtol=0, atol=1e-5)
