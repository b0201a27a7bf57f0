"""How far an inexact hypergradient is from the exact one."""

from __future__ import annotations

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import Hypergradient, preconditioner
from imaging.bilevel.linear import conjugate_gradients
from imaging.bilevel.lower_level import LowerLevel, Solution
from imaging.bilevel.solvers import column, norms


@torch.no_grad()
def polish(lower: LowerLevel, solution: Solution, measured: Tensor, theta: Tensor, tolerance: float = 1e-3) -> Solution:
    r"""One Newton step, :math:`x - H^{-1} \nabla h(x)`, for those images whose certified bound it makes smaller.

    Close to the minimisers it squares the distance, but leaves about ``tolerance`` of it, as that is the linear solve's, relative to the
    gradient. It costs two gradients and a linear solve. No bound gets larger, and iterations count one more.
    """
    back = lower.back(measured)
    slope, divided = lower.gradient(solution.x, back, theta), preconditioner(lower, solution.x, theta)
    step = conjugate_gradients(lambda v: lower.hessian(solution.x, v, theta), slope, tolerance, preconditioner=divided).q
    moved = solution.x - step
    bound = norms(lower.gradient(moved, back, theta)) / lower.strong_convexity
    better = bound < solution.bound
    x = torch.where(column(better), moved, solution.x)
    return Solution(x, torch.where(better, bound, solution.bound), solution.iterations + 1, solution.converged)


@torch.no_grad()
def estimated_error(
    lower: LowerLevel, solution: Solution, measured: Tensor, truth: Tensor, theta: Tensor, found: Hypergradient, tolerance: float = 1e-3
) -> Tensor:  # fmt: skip
    r"""Estimate of ``found.z - grad f``, ``(p,)``: the difference from the hypergradient at minimisers that Newton's method has polished.

    An estimate and no bound: it has all terms of first order, in the distances to the minimisers and in the residuals of the adjoint
    systems, and none beyond. For the squared error of all pixels. `rigorous_bound` is a bound, but hundreds of times as large.

    Parameters
    ----------
    lower, solution, measured, truth, theta
        The problem and its approximate minimisers.
    found : Hypergradient
        Made from them.
    tolerance : float
        Of the two linear solves that the estimate costs, relative to what they correct: the estimate's own relative accuracy, about.
    """
    polished = polish(lower, solution, measured, theta, tolerance)

    def product(v: Tensor) -> Tensor:
        return lower.hessian(polished.x, v, theta)

    divided = preconditioner(lower, polished.x, theta)
    missing = (polished.x - truth) - product(found.adjoint)
    correction = conjugate_gradients(product, missing, tolerance, preconditioner=divided).q
    return found.z + lower.regularizer.mixed_adjoint(polished.x, found.adjoint + correction, theta) / len(truth)


@torch.no_grad()
def rigorous_bound(lower: LowerLevel, solution: Solution, theta: Tensor, found: Hypergradient) -> float:
    r"""A-posteriori bound on ``norm(found.z - grad f)`` (Ehrhardt and Roberts 2024, theorem 2.1), for the squared error.

    The mean over images of

    .. math::

        \Big(\frac{\|J\|}\mu + \frac{L_H \|\nabla g\| \|J\|}{\mu^2} + \frac{L_J \|\nabla g\|}\mu\Big) \varepsilon
        + \frac{\|J\|}\mu \delta + \frac{L_J}\mu \varepsilon^2

    with the certified distance :math:`\varepsilon`, the residual :math:`\delta` of the adjoint system, the strong convexity :math:`\mu`,
    the mixed derivative J and the Lipschitz constants L of the Hessian and of J. It holds up to rounding, and is tens to thousands of times
    the error, which `estimated_error` is close to.

    Parameters
    ----------
    lower, solution, theta
        The lower level and its approximate minimisers.
    found : Hypergradient
        Made from them.

    Raises
    ------
    NotImplementedError
        For a regulariser whose constants are not known, see `Regularizer.constants`.
    """
    constants = lower.regularizer.constants(solution.x, theta)
    if constants is None:
        name = type(lower.regularizer).__name__
        raise NotImplementedError(f"no Lipschitz constants are known of {name}; known are those of TotalVariation; try estimated_error")
    mu, distance, left = lower.strong_convexity, solution.bound, found.residual * found.length
    slope = constants.norm / mu + (constants.hessian * constants.norm / mu**2 + constants.mixed / mu) * found.length
    each = slope * distance + constants.norm / mu * left + constants.mixed / mu * distance.square()
    return float(each.mean())
