"""What a training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

_INVALID = 0.1
"""Weight of pixels that were not measured."""
_FLOOR = 0.03
"""Relative error power below which a crop no longer counts more the better it is."""
_CORE = 3.0
"""Deviations up to which the error's density is Gaussian."""
LIKELIHOOD = 0.1
"""Weight of the likelihood of the deviation."""


def relative_error(error: Tensor, unit: Tensor, weight: Tensor) -> Tensor:
    """Power of the error of each item over that which the features expect, ``(B,)``."""
    total = weight.sum((1, 2, 3))
    return (weight * error.square()).sum((1, 2, 3)) / (weight * unit.square()).sum((1, 2, 3)).clamp(min=1e-20) * (total > 0)


def posterior_loss(
    change: Tensor, spread: Tensor, estimate: Tensor, unit: Tensor, truth: Tensor, mask: Tensor, border: int
) -> tuple[Tensor, Tensor]:
    """Logarithm of the relative squared error, a mean over items, and negative log-likelihood of the deviation, nats a value.

    All images are ``(B, C, H, W)``: ``change`` and ``spread`` of the network are in units of ``unit``, ``mask`` is one where the scene was
    measured. Within ``border`` pixels of the edge nothing counts. The likelihood is that of a density with a Gaussian core and exponential
    tails (Huber 1964): a few pixels far away, beside a clipped highlight, do not widen the intervals of all others.
    """
    cut = (..., slice(border, truth.shape[2] - border), slice(border, truth.shape[3] - border))
    weight = _INVALID + (1 - _INVALID) * mask[cut]
    scaled = ((estimate - truth) / unit + change)[cut]
    fidelity = torch.log(relative_error(scaled * unit[cut], unit[cut], weight) + _FLOOR).mean()
    deviation = spread[cut]
    away = (scaled.detach() / deviation).abs()
    likelihood = torch.where(away < _CORE, away.square() / 2, _CORE * (away - _CORE / 2)) + deviation.log()
    return fidelity, (weight * likelihood).sum() / weight.sum()
