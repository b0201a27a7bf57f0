"""Residual blocks at low resolution, cheap on a CPU, and causal convolutions, from which the autoencoders are made."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to the input; the identity at initialisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, width, H, W)`` to the same shape."""
        out: Tensor = x + self.second(F.gelu(self.first(x)))
        return out


class GroupCausalConv2d(nn.Conv2d):
    """Convolution in which group ``g`` of the output sees earlier groups everywhere and its own group only in the causal past.

    ``group_in`` and ``group_out`` are the groups of the channels; positions are in raster order, the kernel size is odd. If ``strict``, the
    own group is seen strictly before the current position (for inputs that are the variables themselves), otherwise up to and including it
    (for features already causal).
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


class CausalBlock(nn.Module):
    """A 3x3 and a 1x1 causal convolution added to the input; the identity at initialisation."""

    def __init__(self, groups: list[int]) -> None:
        super().__init__()
        self.first = GroupCausalConv2d(groups, groups, 3, strict=False)
        self.second = GroupCausalConv2d(groups, groups, 1, strict=False)
        zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        """Map causal features ``(B, width, H, W)`` to the same shape."""
        out: Tensor = x + self.second(F.gelu(self.first(x)))
        return out


def zero(conv: nn.Conv2d, bias: float = 0.0) -> nn.Conv2d:
    """Set a convolution's weights to zero and its bias to a constant; returns it."""
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv


def refiner(latents: int, width: int, blocks: int, fine: int, fine_blocks: int, out: int, bias: float = 0.0) -> nn.Sequential:
    """Network from latents at 1/8 resolution through a stage at 1/4 to ``out`` channels at full resolution."""
    return nn.Sequential(
        nn.Conv2d(latents, width, 3, padding=1),
        *(ResidualBlock(width) for _ in range(blocks)),
        nn.Conv2d(width, 4 * fine, 3, padding=1),
        nn.PixelShuffle(2),
        *(ResidualBlock(fine) for _ in range(fine_blocks)),
        zero(nn.Conv2d(fine, 16 * out, 3, padding=1), bias),
        nn.PixelShuffle(4),
    )
