"""Small filters of images ``(B, C, H, W)``, whose borders are replicated."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


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
