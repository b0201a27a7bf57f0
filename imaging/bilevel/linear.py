"""Batches of symmetric linear systems, one for each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imaging.bilevel.solvers import column, inner, norms

LinearMap = Callable[[Tensor], Tensor]
"""A linear operator on batches ``(B, C, H, W)`` that acts on each image by itself."""

_AIM, _STEEPEST = 0.9, 0.75
"""MINRES stops at this share of the residual that is asked for, since its own figure may be off by rounding; and where a step is so long
that the condition number must be above the dtype's precision to the power of minus this."""


@dataclass(frozen=True)
class Linear:
    """Solutions of a batch of linear systems, with the Euclidean norm of the ``residual`` of each, ``(B,)``.

    ``indefinite`` says whether a direction without positive curvature was met, where conjugate gradients stop and MINRES does not, and
    ``converged`` whether the residual is as small as asked for.
    """

    q: Tensor
    residual: Tensor
    indefinite: Tensor
    converged: Tensor


def _checked(tolerance: float) -> float:
    if not 0 <= tolerance < 1:
        raise ValueError(f"the tolerance is {tolerance}; accepted are numbers from 0 to below 1, relative to the right-hand side")
    return tolerance


def _quotient(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """``a / b`` for some images, zero for the others."""
    return torch.where(where, a / b.where(where, torch.ones_like(b)), torch.zeros_like(a))


def jacobi(diagonal: Tensor) -> LinearMap:
    """Preconditioner that divides by the operator's diagonal, ``(B, C, H, W)``; values that are not positive count as 1."""
    scale = torch.where(diagonal > 0, 1 / diagonal, torch.ones_like(diagonal))
    return lambda r: scale * r


@torch.no_grad()
def conjugate_gradients(
    product: LinearMap, rhs: Tensor, tolerance: float, start: Tensor | None = None, limit: int = 1000, *,
    preconditioner: LinearMap | None = None,
) -> Linear:  # fmt: skip
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
    preconditioner : callable, optional
        A symmetric positive definite operator on batches, close to the inverse of ``product``: fewer iterations, the same solution. The
        residual is measured without it.

    Raises
    ------
    ValueError
        For a tolerance of 1 or more.
    """
    wanted = (_checked(tolerance) * norms(rhs)).square()
    q = torch.zeros_like(rhs) if start is None else start.clone()
    r = rhs - product(q) if start is not None else rhs.clone()
    p = r.clone() if preconditioner is None else preconditioner(r)
    square, scaled = inner(r, r), inner(r, p)
    indefinite = torch.zeros(len(rhs), dtype=torch.bool, device=rhs.device)
    for _ in range(limit):
        going = (square > wanted) & ~indefinite
        if not going.any():
            break
        moved = product(p)
        curvature = inner(p, moved)
        indefinite |= going & (curvature <= 0)
        going &= ~indefinite
        step = _quotient(scaled, curvature, going)
        q, r = q + column(step) * p, r - column(step) * moved
        s = r if preconditioner is None else preconditioner(r)
        new = inner(r, s)
        factor = torch.where(going, new / scaled.clamp(min=torch.finfo(scaled.dtype).tiny), torch.zeros_like(new))
        p, scaled = torch.where(column(going), s + column(factor) * p, p), torch.where(going, new, scaled)
        square = scaled if preconditioner is None else torch.where(going, inner(r, r), square)
    return Linear(q, square.sqrt(), indefinite, square <= wanted)


class _Triangle:
    """Triangular factor of the tridiagonal matrices of the Lanczos process, by Givens rotations, of which two are remembered."""

    def __init__(self, length: Tensor) -> None:
        self.cosine, self.sine = torch.ones_like(length), torch.zeros_like(length)
        self.cosine_before, self.sine_before = self.cosine, self.sine
        self.left = length
        """Last entry of the rotated right-hand side, the residual's norm up to the sign."""
        self.pivot = torch.full_like(length, torch.inf)
        """Last pivot of the matrices' elimination: not positive where a direction without positive curvature was met."""
        self.size = torch.zeros_like(length)
        """Largest column so far, about the operator's norm."""

    def add(self, above: Tensor, middle: Tensor, below: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take in a column of the matrices; returns the factor's, from its top to the inverse of its diagonal, and the new coordinate."""
        self.pivot = middle - above.square() / self.pivot
        self.size = torch.maximum(self.size, torch.hypot(torch.hypot(above, middle), below))
        top, second = self.sine_before * above, self.cosine_before * above
        second, last = self.cosine * second + self.sine * middle, self.cosine * middle - self.sine * second
        length = torch.hypot(last, below)
        inverse = _quotient(torch.ones_like(length), length, length > 0)
        self.cosine_before, self.sine_before = self.cosine, self.sine
        self.cosine, self.sine = last * inverse, below * inverse
        coordinate = self.cosine * self.left
        self.left = torch.where(inverse > 0, -self.sine * self.left, self.left)
        return top, second, inverse, coordinate


@torch.no_grad()
def minres(product: LinearMap, rhs: Tensor, tolerance: float, start: Tensor | None = None, limit: int = 1000) -> Linear:
    """Solve ``product(q) = rhs`` for each image of a batch, whatever the signs of the eigenvalues (Paige and Saunders 1975).

    Arguments and errors are those of `conjugate_gradients`, but the operator need only be symmetric. The residual does not grow from one
    iteration to the next. It is measured anew at the end, for one product more. An image whose system has no solution ends where the
    residual falls no further, and is not converged.
    """
    wanted = _checked(tolerance) * norms(rhs)
    q = torch.zeros_like(rhs) if start is None else start.clone()
    v = rhs if start is None else rhs - product(q)
    triangle, above = _Triangle(norms(v)), torch.zeros_like(wanted)
    v, before, w, w_before = v / column(_nonzero(triangle.left)), *(torch.zeros_like(v) for _ in range(3))
    indefinite = torch.zeros(len(rhs), dtype=torch.bool, device=rhs.device)
    stuck, longest = indefinite, triangle.left / torch.finfo(rhs.dtype).eps ** _STEEPEST
    for _ in range(limit):
        going = (triangle.left.abs() > _AIM * wanted) & ~stuck
        if not going.any():
            break
        moved = product(v) - column(above) * before
        middle = inner(v, moved)
        moved = moved - column(middle) * v
        below = norms(moved)
        top, second, inverse, coordinate = triangle.add(above, middle, below)
        w, w_before = column(inverse) * (v - column(second) * w - column(top) * w_before), w
        indefinite = indefinite | (going & (triangle.pivot <= 0))
        stuck = stuck | (inverse == 0) | ~(coordinate.abs() * norms(w) * triangle.size < longest)
        q = torch.where(column(going & ~stuck), q + column(coordinate) * w, q)
        before, v, above = v, moved / column(_nonzero(below)), below
    residual = norms(rhs - product(q))
    return Linear(q, residual, indefinite, residual <= wanted)


def _nonzero(length: Tensor) -> Tensor:
    return torch.where(length > 0, length, torch.ones_like(length))
