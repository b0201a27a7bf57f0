"""Causal context over channel groups and raster order, evaluated in one parallel pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupCausalConv2d(nn.Conv2d):
    """Convolution in which group ``g`` of the output sees earlier groups everywhere and its own group only in the causal past.

    Channels are ordered by group, positions in raster order. With ``strict=True`` the own group is seen strictly before the current
    position (for inputs that are the variables themselves), otherwise up to and including it (for features already causal).

    Parameters
    ----------
    group_in, group_out : list of int
        Group index of each input and output channel.
    kernel_size : int
        Odd.
    strict : bool
        Whether the own group excludes the current position.
    """

    mask: Tensor

    def __init__(self, group_in: list[int], group_out: list[int], kernel_size: int, *, strict: bool) -> None:
        super().__init__(len(group_in), len(group_out), kernel_size, padding=kernel_size // 2)
        gi, go = torch.tensor(group_in), torch.tensor(group_out)
        earlier = (gi[None] < go[:, None])[..., None, None]
        own = (gi[None] == go[:, None])[..., None, None]
        position = torch.arange(kernel_size * kernel_size).reshape(kernel_size, kernel_size)
        centre = kernel_size * kernel_size // 2
        past = position < centre if strict else position <= centre
        self.register_buffer("mask", (earlier | (own & past)).to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the masked convolution to ``(B, C_in, H, W)``."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)
