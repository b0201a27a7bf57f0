"""Small filters of images ``(B, C, H, W)``, whose borders are replicated."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_HOLES = (5, 17, 65)
"""Sides of the squares from whose valid pixels invalid ones are filled, the smallest that holds any."""


def filtered(x: Tensor, taps: Tensor) -> Tensor:
    """Filter along columns and rows with the same taps, ``(2 n + 1,)``."""
    flat = F.pad(x.flatten(0, 1)[:, None], (len(taps) // 2,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(flat, taps[None, None, :, None]), taps[None, None, None]).reshape(x.shape)


def binomial_taps(like: Tensor, order: int = 4) -> Tensor:
    """Binomial coefficients of an even order over their sum, ``(order + 1,)``."""
    return like.new_tensor([math.comb(order, k) / 2**order for k in range(order + 1)])


def box_mean(x: Tensor, side: int, *, at_once: bool = False) -> Tensor:
    """Mean over ``side`` x ``side`` pixels around each, along one axis after the other or, faster for small squares, at once."""
    padded = F.pad(x, (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, side, 1) if at_once else F.avg_pool2d(F.avg_pool2d(padded, (side, 1), 1), (1, side), 1)


def filled_holes(y: Tensor, mask: Tensor | None, level: Tensor) -> Tensor:
    """The measurement with invalid pixels replaced by the mean of valid ones nearby, where there are none by the mean signal.

    ``y`` is ``(B, C, H, W)``, anything finite where it is invalid; ``mask`` is one where it is valid and broadcastable to it, None where
    everything is; ``level`` is ``(B, 1, 1, 1)`` or ``(B, C, 1, 1)``.
    """
    if mask is None or bool((mask > 0).all()):
        return y
    valid = (mask > 0).to(y).expand_as(y)
    torn = (valid == 0).any(3).any(2).any(1)
    if not bool(torn.all()):
        found = y.clone()
        found[torn] = filled_holes(y[torn], valid[torn], level.expand(len(y), *level.shape[1:])[torn])
        return found
    found = level.expand_as(y)
    for side in reversed(_HOLES):
        share = box_mean(valid, side)
        found = torch.where(share > 0.5 / side**2, box_mean((y - level) * valid, side) / share.clamp(min=0.5 / side**2) + level, found)
    return torch.where(valid > 0, y, found)


def taper(radius: int) -> Tensor:
    """A squared cosine window ``(2 radius + 1, 2 radius + 1)``, 1 in the middle, float64."""
    line = torch.cos(math.pi * torch.arange(-radius, radius + 1, dtype=torch.float64) / (2 * radius + 2)).square()
    return line[:, None] * line[None]
