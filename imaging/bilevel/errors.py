"""How far an inexact hypergradient is from the exact one."""

from __future__ import annotations

import torch
from torch import Tensor

from imaging.bilevel.hypergradient import Hypergradient, conjugate_gradients
from imaging.bilevel.lower_level import LowerLevel, Solution


@torch.no_grad()
def estimated_error(
    lower: LowerLevel, solution: Solution, measured: Tensor, truth: Tensor, theta: Tensor, found: Hypergradient, tolerance: float = 1e-2
) -> Tensor:  # fmt: skip
    r"""Goal-oriented estimate of ``found.z - grad f``, ``(p,)``: an estimate to first order, no bound.

    .. math::

        z - \nabla f \approx -\tfrac1m \sum_i J_i^T H_i^{-1} (r_i + d_i), \quad d_i = H_i^{-1} \nabla h_i, \quad r_i = H_i q_i - \nabla g_i

    for the squared error, whose Hessian is the identity. What the change of H and J between the approximate and the exact minimiser adds is
    left out, so that coarse solutions are underestimated, by about a tenth. The rigorous bound (Ehrhardt and Roberts 2024) is hundreds of
    times too large on denoising problems.

    Parameters
    ----------
    lower, solution, measured, truth, theta
        The problem and its approximate minimisers.
    found : Hypergradient
        Made from them.
    tolerance : float
        Of the two linear solves that the estimate costs, relative.
    """

    def product(v: Tensor) -> Tensor:
        return lower.hessian(solution.x, v, theta)

    slope = lower.gradient(solution.x, lower.back(measured), theta)
    distance = conjugate_gradients(product, slope, tolerance).q
    residual = product(found.adjoint) - (solution.x - truth)
    q = conjugate_gradients(product, residual + distance, tolerance).q
    return -lower.regularizer.mixed_adjoint(solution.x, q, theta) / len(q)
