"""Derivatives through a minimiser, by the implicit function theorem."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imaging.bilevel.linear import Linear, LinearMap, conjugate_gradients, jacobi, minres
from imaging.bilevel.lower_level import LowerLevel, Solution
from imaging.bilevel.solvers import norms


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
        ``(B,)`` whether a Hessian was found not positive definite: the point is no minimiser then, and the adjoint is that of MINRES.
    converged : Tensor
        ``(B,)`` whether the residual is as small as asked for; otherwise, at the limit of iterations, the value is not to be trusted.
    length : Tensor
        ``(B,)`` norm of the right-hand sides, the losses' gradients.
    """

    z: Tensor
    adjoint: Tensor
    residual: Tensor
    indefinite: Tensor
    converged: Tensor
    length: Tensor

    @classmethod
    def of(cls, z: Tensor, found: Linear, rhs: Tensor) -> Hypergradient:
        """From the derivative and the solution of the adjoint systems, whose right-hand sides are ``rhs``."""
        length = norms(rhs)
        relative = found.residual / length.clamp(min=torch.finfo(length.dtype).tiny)
        return cls(z, found.q, relative, found.indefinite, found.converged, length)


def preconditioner(lower: LowerLevel, x: Tensor, theta: Tensor) -> LinearMap | None:
    """Division by the diagonal of the lower level's Hessian at ``x``; None unless its regulariser knows its own and asks for that.

    It is None, too, for lower levels with an operator, whose diagonal is not known.
    """
    if lower.physics is not None or not lower.regularizer.preconditioned:
        return None
    diagonal = lower.regularizer.hessian_diagonal(x, theta)
    return None if diagonal is None else jacobi(diagonal + (1.0 if lower.weight is None else lower.weight) + lower.ridge)


def _adjoint(
    lower: LowerLevel, solution: Solution, theta: Tensor, rhs: Tensor, tolerance: float, start: Tensor | None, limit: int
) -> Linear:  # fmt: skip
    """Adjoint systems by conjugate gradients, and by MINRES for those images whose Hessian turns out not to be positive definite."""
    x, divided = solution.x, preconditioner(lower, solution.x, theta)
    found = conjugate_gradients(lambda v: lower.hessian(x, v, theta), rhs, tolerance, start, limit, preconditioner=divided)
    bad = found.indefinite
    if not bad.any():
        return found
    weight = lower.weight if lower.weight is None or len(lower.weight) == 1 else lower.weight[bad]
    few = replace(lower, weight=weight)  # the same cost goes on being counted
    again = minres(lambda v: few.hessian(x[bad], v, theta), rhs[bad], tolerance, limit=limit)
    q, residual, converged = found.q.clone(), found.residual.clone(), found.converged.clone()
    q[bad], residual[bad], converged[bad] = again.q, again.residual, again.converged
    return Linear(q, residual, bad, converged)


def hypergradient(
    lower: LowerLevel, solution: Solution, theta: Tensor, loss_gradient: Tensor, tolerance: float, start: Tensor | None = None,
    limit: int = 1000,
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
    limit : int
        Iterations of the linear solves at most, of conjugate gradients and once more of MINRES.
    """
    found = _adjoint(lower, solution, theta, loss_gradient, tolerance, start, limit)
    z = -lower.regularizer.mixed_adjoint(solution.x, found.q, theta) / len(loss_gradient)
    return Hypergradient.of(z, found, loss_gradient)


class _Minimiser(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, y, lower, accuracy, tolerance, limit):  # type: ignore[no-untyped-def]
        solution = lower.solve(y, theta.detach(), accuracy)
        ctx.lower, ctx.solution, ctx.tolerance, ctx.limit = lower, solution, tolerance, limit
        ctx.save_for_backward(theta.detach())
        return solution.x

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (theta,) = ctx.saved_tensors
        found = hypergradient(ctx.lower, ctx.solution, theta, gradient, ctx.tolerance, limit=ctx.limit)
        if found.indefinite.any():
            raise RuntimeError("the lower level's Hessian is not positive definite; no derivative through its minimiser is known")
        if not found.converged.all():
            worst = float(found.residual.max())
            raise RuntimeError(f"the linear solves left {worst:.1e} of the loss gradient after {ctx.limit} iterations; allow more of them")
        return len(gradient) * found.z, None, None, None, None, None


def minimiser(lower: LowerLevel, y: Tensor, theta: Tensor, accuracy: float, tolerance: float = 1e-3, limit: int = 1000) -> Tensor:
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
    limit : int
        Iterations of the linear solves at most.

    Raises
    ------
    RuntimeError
        When the derivative is asked for and a Hessian is not positive definite, or a linear solve does not come to its tolerance.
    """
    found: Tensor = _Minimiser.apply(theta, y, lower, accuracy, tolerance, limit)  # type: ignore[no-untyped-call]
    return found
