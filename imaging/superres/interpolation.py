"""Fixed float ends of a super-resolution network: bicubic interpolation as a convolution, agreement with the input's low frequencies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.filters import binomial_taps

RADIUS = 2
"""Coarse pixels that bicubic interpolation looks at around one."""
SMOOTHING = 4
"""Coarse pixels that the smoothing of disagreement looks at around one."""


def bicubic_kernels(scale: int) -> Tensor:
    """Kernels ``(scale**2, 1, 5, 5)`` of bicubic interpolation (Keys 1981, a = -1/2) with aligned pixel corners, by fine pixel."""
    size = 2 * RADIUS + 1
    deltas = torch.eye(size**2, dtype=torch.float64).view(-1, 1, size, size)
    padded = F.pad(deltas, (4, 4, 4, 4))
    fine = F.interpolate(padded, scale_factor=scale, mode="bicubic", antialias=True)
    centre = (4 + RADIUS) * scale
    return fine[:, 0, centre : centre + scale, centre : centre + scale].reshape(size, size, scale**2).permute(2, 0, 1)[:, None].float()


class Interpolation(nn.Module):
    """Bicubic interpolation of ``(B, bands, H, W)`` to the order of a pixel shuffle, ``(B, bands * scale**2, H, W)``."""

    weight: Tensor

    def __init__(self, bands: int, scale: int) -> None:
        super().__init__()
        self.bands = bands
        self.register_buffer("weight", bicubic_kernels(scale).repeat(bands, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate."""
        return F.conv2d(x, self.weight, padding=RADIUS, groups=self.bands)


class Consistency(nn.Module):
    """Give a super-resolved image the low frequencies of its input.

    To the fine image, in the order of a pixel shuffle, ``(B, bands * scale**2, H, W)``, it adds the smoothed difference between the input
    and the means of the fine pixels that share a coarse one.
    """

    smoothing: Tensor
    means: Tensor

    def __init__(self, bands: int, scale: int) -> None:
        super().__init__()
        self.bands, self.scale = bands, scale
        row = binomial_taps(torch.zeros(()), 2 * SMOOTHING)
        self.register_buffer("smoothing", torch.outer(row, row).repeat(bands, 1, 1, 1), persistent=False)
        self.register_buffer("means", torch.full((bands, scale**2, 1, 1), 1 / scale**2), persistent=False)

    def forward(self, x: Tensor, fine: Tensor) -> Tensor:
        """Add the smoothed disagreement."""
        disagreement = x - F.conv2d(fine, self.means, groups=self.bands)
        smooth = F.conv2d(disagreement, self.smoothing, padding=SMOOTHING, groups=self.bands)
        return fine + smooth.repeat_interleave(self.scale**2, 1)
