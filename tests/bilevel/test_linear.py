"""Linear solves, what is done where a Hessian is not positive definite, and errors of hypergradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from imaging.bilevel import FieldOfExperts, LowerLevel, Regularizer, TotalVariation
from imaging.bilevel.hypergradient import hypergradient, minimiser
from imaging.bilevel.hypergradient_error import estimated_error, polish, rigorous_bound
from imaging.bilevel.linear import LinearMap, conjugate_gradients, jacobi, minres
from imaging.bilevel.lower_level import Solution
from imaging.bilevel.solvers import norms
from tests.bilevel.models import images, regularizers


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def systems(eigenvalues: Tensor, count: int = 4, seed: int = 0) -> Tensor:
    """Dense symmetric matrices ``(B, n, n)`` with the given eigenvalues."""
    basis = torch.linalg.qr(random(count, len(eigenvalues), len(eigenvalues), seed=seed))[0]
    return basis @ torch.diag_embed(eigenvalues.expand(count, -1)) @ basis.mT


def applied(matrices: Tensor, calls: list[int] | None = None) -> LinearMap:
    """The matrices as an operator on images, which counts its calls."""

    def product(v: Tensor) -> Tensor:
        if calls is not None:
            calls.append(len(v))
        return (matrices @ v.flatten(1)[..., None]).reshape(v.shape)

    return product


def solved(matrices: Tensor, rhs: Tensor) -> Tensor:
    return torch.linalg.solve(matrices, rhs.flatten(1)[..., None]).reshape(rhs.shape)


SIGNS = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64).repeat(12)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-4, 1e-10])
@pytest.mark.parametrize("warm", [False, True])
def test_minres_solves_indefinite_systems_as_dense_solves_do(tolerance: float, warm: bool) -> None:
    eigenvalues = SIGNS * torch.linspace(0.1, 2, 36, dtype=torch.float64)
    matrices, scale = systems(eigenvalues), torch.tensor([1e-6, 1.0, 1e6, 0.0], dtype=torch.float64).reshape(4, 1, 1, 1)
    rhs = scale * random(4, 1, 6, 6, seed=1)
    found = minres(applied(matrices), rhs, tolerance, scale * random(4, 1, 6, 6, seed=2) if warm else None)
    assert found.converged.all()
    torch.testing.assert_close(found.residual, norms(rhs - applied(matrices)(found.q)), rtol=1e-12, atol=0)
    assert (found.residual <= tolerance * norms(rhs)).all()
    assert (norms(found.q - solved(matrices, rhs)) <= tolerance / 0.1 * norms(rhs)).all()
    if tolerance < 1e-3:
        assert found.indefinite.tolist() == [True, True, True, False]


def test_the_residual_of_minres_is_the_shortest_of_its_krylov_space() -> None:
    matrices, rhs = systems(SIGNS * torch.linspace(0.1, 2, 36, dtype=torch.float64), 1), random(1, 1, 6, 6, seed=3)
    powers = [rhs.flatten()]
    for steps in range(1, 8):
        powers.append(matrices[0] @ powers[-1])
        krylov = torch.linalg.qr(torch.stack(powers[1:], 1))[0]
        shortest = (rhs.flatten() - krylov @ (krylov.T @ rhs.flatten())).norm()
        found = minres(applied(matrices), rhs, 1e-12, limit=steps)
        assert float(found.residual) == pytest.approx(float(shortest), rel=1e-9)
        assert not found.converged.any()


def test_minres_and_conjugate_gradients_agree_on_positive_definite_systems() -> None:
    matrices, rhs = systems(torch.linspace(0.1, 2, 36, dtype=torch.float64)), random(4, 1, 6, 6, seed=4)
    one, other = conjugate_gradients(applied(matrices), rhs, 1e-12), minres(applied(matrices), rhs, 1e-12)
    torch.testing.assert_close(one.q, other.q, rtol=0, atol=1e-9)
    assert not one.indefinite.any()
    assert not other.indefinite.any()


def test_minres_notices_negative_curvature_that_none_of_its_directions_has() -> None:
    matrix, rhs = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)[None], torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = minres(applied(matrix), rhs.reshape(1, 1, 1, 2), 1e-9)  # the Lanczos directions are the axes, of curvature 1
    assert found.indefinite.all()
    torch.testing.assert_close(found.q.flatten(), torch.tensor([-1.0, 2.0], dtype=torch.float64) / 3)


def test_a_system_without_a_solution_is_no_success() -> None:
    eigenvalues = torch.linspace(-1, 2, 36, dtype=torch.float64)
    diagonal = eigenvalues.where(torch.arange(36) != 7, torch.zeros(())).reshape(1, 1, 6, 6)
    found = minres(lambda v: diagonal * v, torch.ones_like(diagonal), 1e-8)
    assert not found.converged.any()
    rounding = 4 * torch.finfo(torch.float64).eps * float(found.q.abs().max())  # the part without curvature grows without bound
    assert rounding < 0.01
    assert float(found.residual) == pytest.approx(1, abs=rounding), "what no solution can reach, and nothing more, is left"


def test_solves_that_would_do_nothing_are_refused() -> None:
    for solve in (conjugate_gradients, minres):
        with pytest.raises(ValueError, match="relative to the right-hand side"):
            solve(lambda v: v, torch.ones(1, 1, 2, 2), 1.0)


def test_a_preconditioner_saves_products_and_leaves_the_solution_alone() -> None:
    scale = torch.logspace(-2, 2, 36, dtype=torch.float64)
    matrices = scale[:, None] * systems(torch.linspace(0.5, 2, 36, dtype=torch.float64)) * scale
    rhs, plain, divided = random(4, 1, 6, 6, seed=5), list[int](), list[int]()
    diagonal = matrices.diagonal(dim1=1, dim2=2).reshape(rhs.shape)
    conjugate_gradients(applied(matrices, plain), rhs, 1e-9)
    found = conjugate_gradients(applied(matrices, divided), rhs, 1e-9, preconditioner=jacobi(diagonal))
    assert len(divided) < 0.5 * len(plain)
    assert found.converged.all()
    torch.testing.assert_close(found.residual, norms(rhs - applied(matrices)(found.q)), rtol=1e-2, atol=0)
    assert (norms(found.q - solved(matrices, rhs)) <= 1e-4 * norms(found.q)).all()
    once = conjugate_gradients(lambda v: diagonal * v, rhs, 1e-12, limit=1, preconditioner=jacobi(diagonal))
    assert once.converged.all(), "a diagonal system is solved at once"


def test_a_solve_at_its_limit_says_so() -> None:
    matrices, rhs = systems(torch.linspace(0.01, 2, 36, dtype=torch.float64)), random(4, 1, 6, 6, seed=6)
    rhs[1] = 0
    found = conjugate_gradients(applied(matrices), rhs, 1e-6, limit=3)
    assert found.converged.tolist() == [False, True, False, False]


@pytest.mark.parametrize("name", list(regularizers()))
def test_diagonals_are_those_of_the_hessians(name: str) -> None:
    regularizer, theta = regularizers()[name]
    x = images(2, 9, channels=3 if "colour" in name else 1)
    found, count = regularizer.hessian_diagonal(x, theta), x[0].numel()
    if name.split()[-1] in ("replicate", "reflect", "circular"):
        assert found is None
        return
    assert found is not None
    directions = torch.eye(count, dtype=x.dtype).reshape(count, *x.shape[1:])
    for k in range(2):
        columns = regularizer.hessian(x[k : k + 1].expand_as(directions), directions, theta)
        torch.testing.assert_close(found[k].flatten(), columns.reshape(count, count).diagonal(), rtol=1e-9, atol=1e-12)


def denoising(regularizer: Regularizer, count: int = 3, side: int = 14, seed: int = 0) -> tuple[LowerLevel, Tensor, Tensor]:
    """A lower level, measurements and true images."""
    truth = images(count, side, seed)
    return LowerLevel(regularizer), truth + 0.1 * random(*truth.shape, seed=seed + 100), truth


def test_total_variation_needs_fewer_products_with_its_diagonal() -> None:
    theta, found, spent = torch.tensor([-2.7, -4.5], dtype=torch.float64), [], []
    for divided in (False, True):
        regularizer = TotalVariation()
        regularizer.preconditioned = divided
        lower, y, truth = denoising(regularizer, side=24)
        solution = lower.solve(y, theta, 1e-8)
        before = lower.cost.hessians
        found.append(hypergradient(lower, solution, theta, solution.x - truth, 1e-9).z)
        spent.append(lower.cost.hessians - before)
    assert TotalVariation.preconditioned
    assert spent[1] < 0.9 * spent[0]
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-12)


class Quartic(Regularizer):
    """``-exp(theta) / 12`` times the fourth powers: concave, though it does not say so, with a diagonal Hessian."""

    size = 1

    def start(self) -> Tensor:
        """Weight 1."""
        return torch.zeros(1)

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        return -theta[0].exp() / 12 * x.pow(4).sum((1, 2, 3))

    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient."""
        return -theta[0].exp() / 3 * x.pow(3)

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """Negative."""
        return -theta[0].exp() * x.square() * v

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Of the one parameter."""
        return (self.grad(x, theta) * q).sum().reshape(1)

    def curvature(self, theta: Tensor) -> float:
        """No positive one."""
        return 0.0


def saddle() -> tuple[LowerLevel, Solution, Tensor, Tensor, Tensor]:
    """Points at which the second and the fourth of four images have an indefinite Hessian, and the adjoints in closed form."""
    x = random(4, 1, 6, 6, seed=7).clamp(-2, 2) * torch.tensor([0.2, 1.0, 0.3, 2.0], dtype=torch.float64).reshape(4, 1, 1, 1)
    weight, theta = 1 + torch.rand(x.shape, generator=torch.Generator().manual_seed(8), dtype=x.dtype), torch.zeros(1, dtype=x.dtype)
    nothing = torch.zeros(4, dtype=x.dtype)
    rhs = random(*x.shape, seed=9)
    return LowerLevel(Quartic(), weight=weight), Solution(x, nothing, nothing, nothing > 0), theta, rhs, rhs / (weight - x.square())


def test_images_with_an_indefinite_hessian_are_solved_again_and_marked() -> None:
    lower, solution, theta, rhs, adjoint = saddle()
    found = hypergradient(lower, solution, theta, rhs, 1e-9)
    assert found.indefinite.tolist() == [False, True, False, True]
    assert found.converged.all()
    torch.testing.assert_close(found.adjoint, adjoint, rtol=1e-6, atol=1e-6)
    expected = (solution.x.pow(3) / 3 * adjoint).sum().reshape(1) / 4
    torch.testing.assert_close(found.z, expected, rtol=1e-6, atol=1e-8)
    left = norms((lower.weight - solution.x.square()) * found.adjoint - rhs) / norms(rhs)
    torch.testing.assert_close(found.residual, left, rtol=1e-2, atol=1e-15)


@pytest.mark.parametrize("limit", [0, 2])
def test_hypergradients_that_are_not_exact_enough_say_so(limit: int) -> None:
    lower, solution, theta, rhs, _ = saddle()
    found = hypergradient(lower, solution, theta, rhs, 1e-9, limit=limit)
    assert not found.converged.any()
    assert (found.residual > 1e-9).all()
    torch.testing.assert_close(found.length, norms(rhs))


def test_no_derivative_through_a_minimiser_comes_from_an_unfinished_solve() -> None:
    lower, y, _ = denoising(TotalVariation())
    theta = torch.tensor([-2.7, -4.5], dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="after 2 iterations"):
        minimiser(lower, y, theta, 1e-6, 1e-9, limit=2).square().sum().backward()
    assert theta.grad is None


def test_polishing_squares_distances_and_never_worsens_a_bound() -> None:
    lower, y, _ = denoising(TotalVariation(), 4)
    theta = torch.tensor([-2.0, -3.5], dtype=torch.float64)
    exact = lower.solve(y, theta, 1e-11).x
    near = lower.solve(y, theta, torch.tensor([1e-2, 1e-3, 1e-4, 1e-4], dtype=y.dtype))
    x = near.x.clone()
    x[3] += 0.1 * random(*x.shape[1:], seed=3)  # so far off that a Newton step leads further away
    before = Solution(x, norms(lower.gradient(x, lower.back(y), theta)), near.iterations, near.converged)
    after = polish(lower, before, y, theta, 1e-8)
    assert (after.bound[:3] < 20 * before.bound[:3].square()).all()
    assert float(after.bound[3]) == float(before.bound[3])
    assert torch.equal(after.x[3], before.x[3])
    assert (norms(after.x - exact) <= after.bound * (1 + 1e-6) + 1e-11).all()


@pytest.mark.parametrize("name", ["tv", "tv anisotropic", "foe valid"])
@pytest.mark.parametrize(("accuracy", "tolerance"), [(1e-2, 1e-6), (1e-3, 1e-2), (1e-6, 0.1)])
def test_the_estimated_error_has_all_terms_of_first_order(name: str, accuracy: float, tolerance: float) -> None:
    regularizer, theta = regularizers()[name]
    lower, y, truth = denoising(regularizer)
    exact, coarse = lower.solve(y, theta, 1e-11), lower.solve(y, theta, accuracy)
    found = hypergradient(lower, coarse, theta, coarse.x - truth, tolerance)
    error = found.z - hypergradient(lower, exact, theta, exact.x - truth, 1e-12).z
    estimate = estimated_error(lower, coarse, y, truth, theta, found)
    assert float((estimate - error).norm()) < 0.05 * float(error.norm())


@pytest.mark.parametrize("isotropic", [True, False])
def test_constants_of_total_variation(isotropic: bool) -> None:
    regularizer, theta = TotalVariation(isotropic=isotropic), torch.tensor([-1.0, -2.0], dtype=torch.float64)
    directions = torch.eye(25, dtype=torch.float64).reshape(25, 1, 5, 5)

    def derivatives(x: Tensor) -> tuple[Tensor, Tensor]:
        points = x.expand_as(directions)
        mixed = torch.stack([regularizer.mixed_adjoint(x, d[None], theta) for d in directions])
        return regularizer.hessian(points, directions, theta).reshape(25, 25), mixed

    for k in range(40):
        x = 0.1 * random(1, 1, 5, 5, seed=k)
        y = x + 0.02 * random(1, 1, 5, 5, seed=1000 + k)
        (h, j), (other_h, other_j) = derivatives(x), derivatives(y)
        known, moved = regularizer.constants(torch.cat([x, y]), theta), float((x - y).norm())
        assert float(torch.linalg.matrix_norm(h - other_h, 2)) <= known.hessian * moved
        assert float(torch.linalg.matrix_norm(j - other_j, 2)) <= known.mixed * moved
        torch.testing.assert_close(known.norm, torch.stack([torch.linalg.matrix_norm(m, 2) for m in (j, other_j)]))


def test_the_hessians_constant_is_attained_but_for_the_norm_of_the_differences() -> None:
    regularizer, theta = TotalVariation(isotropic=False), torch.tensor([-1.0, -2.0], dtype=torch.float64)
    smoothing, direction = float(theta[1].exp()), torch.tensor([-1.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    x, step = smoothing / 4 * direction, 1e-6 * direction  # a difference of half the smoothing
    changed = regularizer.hessian(x + step, direction, theta) - regularizer.hessian(x - step, direction, theta)
    slope = float(changed.norm() / direction.norm() / (2 * step).norm())
    assert slope == pytest.approx(regularizer.constants(x, theta).hessian * 2 / 8, rel=1e-6)  # one difference: 2 instead of 8


def test_the_rigorous_bound_holds_and_is_far_from_the_error_that_is_estimated_well() -> None:
    ratios = []
    for seed in range(20):
        lower, y, truth = denoising(TotalVariation(isotropic=seed % 2 == 0), 2, 8, seed)
        theta = torch.tensor([-2.5, -3.0], dtype=torch.float64) + 0.5 * random(2, seed=seed)
        exact, coarse = lower.solve(y, theta, 1e-11), lower.solve(y, theta, 10.0 ** -(1 + seed % 4))
        found = hypergradient(lower, coarse, theta, coarse.x - truth, 10.0 ** -(1 + seed % 3))
        error = float((found.z - hypergradient(lower, exact, theta, exact.x - truth, 1e-12).z).norm())
        bound = rigorous_bound(lower, coarse, theta, found)
        estimate = float(estimated_error(lower, coarse, y, truth, theta, found).norm())
        assert error <= bound
        assert estimate == pytest.approx(error, rel=0.1)
        ratios.append(bound / estimate)
    assert sorted(ratios)[10] > 100
    lower, y, truth = denoising(FieldOfExperts(3, 3))
    theta = FieldOfExperts(3, 3).start().double()
    solution = lower.solve(y, theta, 1e-2)
    with pytest.raises(NotImplementedError, match="no Lipschitz constants are known of FieldOfExperts"):
        rigorous_bound(lower, solution, theta, hypergradient(lower, solution, theta, solution.x - truth, 1e-2))
