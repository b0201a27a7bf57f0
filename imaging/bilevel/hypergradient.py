"""Derivatives through a minimiser, by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imaging.bilevel.lower_level import LowerLevel, Solution, inner, norms


@dataclass(frozen=True)
class Linear:
    """Solution of a batch of linear systems.

    Attributes
    ----------
    q : Tensor
        Of the right-hand side's shape.
    residual : Tensor
        ``(B,)`` Euclidean norm of what is left.
    indefinite : Tensor
        ``(B,)`` whether a direction without positive curvature was met, where the solve stopped.
    """

    q: Tensor
    residual: Tensor
    indefinite: Tensor


@torch.no_grad()
def conjugate_gradients(
    product: Callable[[Tensor], Tensor], rhs: Tensor, tolerance: float, start: Tensor | None = None, limit: int = 1000
) -> Linear:
    """Solve ``product(q) = rhs`` for each image of a batch (Hestenes and Stiefel 1952).

    Parameters
    ----------
    product : callable
        A symmetric positive definite operator on batches.
    rhs : Tensor
        ``(B, C, H, W)``.
    tolerance : float
        Of the residual relative to the right-hand side; below 1, so that a solve that does nothing is no success.
    start : Tensor, optional
        First guess.
    limit : int
        Iterations at most.

    Raises
    ------
    ValueError
        For a tolerance of 1 or more.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"the tolerance is {tolerance}; accepted are numbers from 0 to below 1, relative to the right-hand side")
    q = torch.zeros_like(rhs) if start is None else start.clone()
    r = rhs - product(q) if start is not None else rhs.clone()
    p, square, wanted = r.clone(), inner(r, r), (tolerance * norms(rhs)).square()
    indefinite = torch.zeros(len(rhs), dtype=torch.bool, device=rhs.device)
    for _ in range(limit):
        going = (square > wanted) & ~indefinite
        if not going.any():
            break
        moved = product(p)
        curvature = inner(p, moved)
        indefinite |= going & (curvature <= 0)
        going &= ~indefinite
        step = torch.where(going, square / curvature.where(going, torch.ones_like(curvature)), torch.zeros_like(square))
        q, r = q + step.reshape(-1, 1, 1, 1) * p, r - step.reshape(-1, 1, 1, 1) * moved
        new = inner(r, r)
        factor = torch.where(going, new / square.clamp(min=torch.finfo(square.dtype).tiny), torch.zeros_like(new))
        p, square = torch.where(going.reshape(-1, 1, 1, 1), r + factor.reshape(-1, 1, 1, 1) * p, p), torch.where(going, new, square)
    return Linear(q, square.sqrt(), indefinite)


@dataclass(frozen=True)
class Hypergradient:
    """Derivative of a mean loss with respect to the parameters.

    Attributes
    ----------
    z : Tensor
        ``(p,)``.
    adjoint : Tensor
        Solution of the adjoint systems, ``(B, C, H, W)``: a warm start for the next.
    residual : Tensor
        ``(B,)`` of the adjoint systems, relative to their right-hand sides.
    indefinite : Tensor
        ``(B,)`` whether a Hessian was found not positive definite: the value is then not to be trusted.
    """

    z: Tensor
    adjoint: Tensor
    residual: Tensor
    indefinite: Tensor


def hypergradient(
    lower: LowerLevel, solution: Solution, theta: Tensor, loss_gradient: Tensor, tolerance: float, start: Tensor | None = None
) -> Hypergradient:  # fmt: skip
    r""":math:`z = -\tfrac1m \sum_i J_i^T H_i^{-1} \nabla g_i`, with the Hessian H and the mixed derivative J of the lower level.

    Parameters
    ----------
    lower, solution, theta
        The lower level and its approximate minimisers.
    loss_gradient : Tensor
        ``(B, C, H, W)`` gradient of each image's loss at the minimisers.
    tolerance : float
        Of the linear solves, relative to ``loss_gradient``.
    start : Tensor, optional
        First guess of the adjoint.
    """
    found = conjugate_gradients(lambda v: lower.hessian(solution.x, v, theta), loss_gradient, tolerance, start)
    z = -lower.regularizer.mixed_adjoint(solution.x, found.q, theta) / len(loss_gradient)
    scale = norms(loss_gradient).clamp(min=torch.finfo(z.dtype).tiny)
    return Hypergradient(z, found.q, found.residual / scale, found.indefinite)


class _Minimiser(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, y, lower, accuracy, tolerance):  # type: ignore[no-untyped-def]  # noqa: ANN
        solution = lower.solve(y, theta.detach(), accuracy)
        ctx.lower, ctx.solution, ctx.tolerance = lower, solution, tolerance
        ctx.save_for_backward(theta.detach())
        return solution.x

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]  # noqa: ANN
        (theta,) = ctx.saved_tensors
        found = hypergradient(ctx.lower, ctx.solution, theta, gradient, ctx.tolerance)
        if found.indefinite.any():
            raise RuntimeError("the lower level's Hessian is not positive definite; no derivative through its minimiser is known")
        return len(gradient) * found.z, None, None, None, None


def minimiser(lower: LowerLevel, y: Tensor, theta: Tensor, accuracy: float, tolerance: float = 1e-3) -> Tensor:
    """The minimiser as a differentiable function of the parameters, for any loss and optimiser of torch.

    Parameters
    ----------
    lower : LowerLevel
        Energy.
    y : Tensor
        Measurements.
    theta : Tensor
        Parameters; gradients arrive there.
    accuracy, tolerance : float
        Of the minimiser, a distance for each image, and of the linear solves of the derivative, relative.
    """
    found: Tensor = _Minimiser.apply(theta, y, lower, accuracy, tolerance)  # type: ignore[no-untyped-call]
    return found
