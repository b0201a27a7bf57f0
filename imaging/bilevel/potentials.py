"""Potentials: what a regulariser charges for a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Slopes(NamedTuple):
    """First and second derivative of a potential, and the derivative of the first one with respect to the logarithm of its smoothing."""

    first: Tensor
    second: Tensor
    smoothing: Tensor


def smoothed_absolute(t: Tensor, smoothing: Tensor) -> Tensor:
    r"""Smoothed absolute value :math:`\sqrt{t^2 + \nu^2} - \nu`, zero at zero; ``smoothing`` is broadcast."""
    return t.square() / (torch.sqrt(t.square() + smoothing.square()) + smoothing)  # no difference of nearly equal numbers


def slopes(t: Tensor, smoothing: Tensor) -> Slopes:
    r"""Derivatives of `smoothed_absolute`: the second one is at most :math:`1 / \nu`."""
    root = torch.sqrt(t.square() + smoothing.square())
    second = smoothing.square() / root**3
    return Slopes(t / root, second, -t * second)


_CACHED = 1 << 18
"""Values that a CPU core keeps at hand."""


def piecewise(function: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """Apply an elementwise function of several inputs piece by piece where that keeps intermediate results in a CPU's cache.

    The first input is ``(B, K, H, W)``, the others likewise or ``(K, 1, 1)``; the function returns a tensor like the first.
    """
    first = values[0]
    if first.device.type != "cpu" or first.numel() <= 2 * _CACHED or (torch.is_grad_enabled() and any(v.requires_grad for v in values)):
        return function(*values)
    found, axis = torch.empty_like(first), 1 if first.is_contiguous() else 2  # of a channels-last tensor rows lie together
    count = max(1, _CACHED // (first.numel() // first.shape[axis]))
    for k in range(0, first.shape[axis], count):
        part = slice(k, k + count)
        inputs = [v[(slice(None),) * axis + (part,)] if v.ndim == 4 else (v[part] if axis == 1 else v) for v in values]
        found[(slice(None),) * axis + (part,)] = function(*inputs)
    return found


def smoothed_slope(t: Tensor, smoothing: Tensor, weight: Tensor) -> Tensor:
    """Weighted first derivative of `smoothed_absolute`."""
    return torch.addcmul(smoothing.square(), t, t).rsqrt_().mul_(t).mul_(weight)


def smoothed_curvature(t: Tensor, smoothing: Tensor, weight: Tensor) -> Tensor:
    """Weighted second derivative of `smoothed_absolute`."""
    inverse = torch.addcmul(smoothing.square(), t, t).rsqrt_()
    return (inverse * inverse).mul_(inverse).mul_(weight * smoothing.square())
