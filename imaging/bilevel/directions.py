"""Directions of limited-memory BFGS for outer methods."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Pairs = tuple[Tensor, Tensor]
"""Steps and the changes of the hypergradient that they made, each ``(k, p)``, from the oldest to the newest."""


def scaled(z: Tensor, steps: Tensor, changes: Tensor) -> Tensor:
    """A hypergradient ``(p,)`` by the two-loop recursion (Nocedal 1980), pairs ``(k, p)`` from the oldest to the newest."""
    q, alphas = z.double(), []
    for s, y in zip(steps.flip(0), changes.flip(0), strict=True):
        alphas.append(s @ q / (s @ y))
        q = q - alphas[-1] * y
    q = q * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y, alpha in zip(steps, changes, reversed(alphas), strict=True):
        q = q + (alpha - y @ q / (s @ y)) * s
    return q.to(z)


def remembered(pairs: Pairs | None, last: Pairs | None, count: int) -> Pairs | None:
    """The last so many pairs with one more, ``(p,)`` each, if its curvature is positive."""
    if last is not None:
        moved, changed = last[0][None], last[1][None]
        if float((moved * changed).sum()) > 1e-8 * float(moved.norm() * changed.norm()):
            pairs = (moved, changed) if pairs is None else (torch.cat([pairs[0], moved]), torch.cat([pairs[1], changed]))
    return None if pairs is None else (pairs[0][-count:], pairs[1][-count:])


def bent(z: Tensor, pairs: Pairs | None) -> tuple[Tensor, float] | None:
    """The hypergradient times the inverse Hessian that pairs tell of, and the product of both; None where that is no descent."""
    if pairs is None:
        return None
    d = scaled(z, *pairs)
    slope = float(d.double() @ z.double())
    return (d, slope) if 0 < slope < math.inf else None
