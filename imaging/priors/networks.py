"""Residual blocks at low resolution, cheap on a CPU, from which the autoencoders are made."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from imaging.priors.context import GroupCausalConv2d


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to the input; the identity at initialisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, width, H, W)`` to the same shape."""
        out: Tensor = x + self.second(F.gelu(self.first(x)))
        return out


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
