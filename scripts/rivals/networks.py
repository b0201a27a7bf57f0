"""Networks trained here for comparison only: a denoiser with the noise level as input, and direct inversion for one sensor.

Nothing here is imported by the package. ``scripts.train.rivals`` trains the weights in ``scripts/rivals``, from the images that the
prior `pan` was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from deepinv.models import Denoiser
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parent
WIDTHS = (32, 64, 96)
LOWEST, HIGHEST = 0.002, 1.5
"""Noise deviations that the denoiser is trained for."""


class Block(nn.Module):
    """Two convolutions added to the input."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, width, H, W)`` to the same shape."""
        return cast(Tensor, x + self.second(F.relu(self.first(x))))


class UNet(nn.Module):
    """Small U-Net at 1/2, 1/4 and 1/8 of the resolution, 38 000 multiply-adds a pixel; what it gives is added to the first channel.

    The input's channels are the image, then what else it may know. Without biases the network goes with the scale of its input (Mohan et
    al., ICLR 2020), which suits a denoiser of many levels.
    """

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.head = nn.Conv2d(4 * channels, a, 3, padding=1, bias=bias)
        self.first, self.down = Block(a, bias), nn.Conv2d(a, b, 2, 2, bias=bias)
        self.second, self.deeper = nn.Sequential(Block(b, bias), Block(b, bias)), nn.Conv2d(b, c, 2, 2, bias=bias)
        self.third = nn.Sequential(*(Block(c, bias) for _ in range(4)))
        self.up = nn.ConvTranspose2d(c, b, 2, 2, bias=bias)
        self.fourth, self.higher = nn.Sequential(Block(b, bias), Block(b, bias)), nn.ConvTranspose2d(b, a, 2, 2, bias=bias)
        self.fifth = Block(a, bias)
        self.tail = nn.Conv2d(a, 4, 3, padding=1, bias=bias)
        nn.init.zeros_(self.tail.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels, H, W)`` of any size to ``(B, 1, H, W)``."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
        one = self.first(self.head(F.pixel_unshuffle(padded, 2)))
        two = self.second(self.down(one))
        three = self.third(self.deeper(two))
        two = self.fourth(two + self.up(three))
        change = F.pixel_shuffle(self.tail(self.fifth(one + self.higher(two))), 2)
        return x[:, :1] + change[..., :height, :width].float()


class SmallDenoiser(Denoiser):  # type: ignore[misc]
    """`UNet` as a deepinv denoiser: bands one by one, noise level as a second channel."""

    def __init__(self, weights: Path | None = WEIGHTS / "denoiser.safetensors") -> None:
        super().__init__()
        self.network = UNet(2, bias=False)
        if weights:
            load(self.network, weights)

    def forward(self, x: Tensor, sigma: Tensor | float, **kwargs: object) -> Tensor:
        """Denoise ``(B, C, H, W)`` of noise deviation ``sigma``."""
        single = x.reshape(-1, 1, *x.shape[2:])
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1).expand(len(x), x.shape[1]).reshape(-1, 1, 1, 1)
        shrunk = (HIGHEST / level).clamp(max=1)  # the network goes with the scale of its input
        found: Tensor = self.network(torch.cat([single * shrunk, (level * shrunk).expand_as(single)], 1)) / shrunk
        return found.reshape(x.shape)


def load(network: nn.Module, path: Path) -> None:
    """Weights from a float16 file, for use: no gradients of them."""
    network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    network.requires_grad_(False).eval()


def inversion() -> UNet:
    """The network that inverts the sensor "raw" of the benchmarks."""
    network = UNet(1, bias=True)
    load(network, WEIGHTS / "inversion.safetensors")
    return network
