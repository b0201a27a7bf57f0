"""The inference network: features in, a change of the estimate and a deviation out, in the features' unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.amortised.features import IMAGES, MAPS

STEP = 8
"""Pixels of the scene to one of the coarsest grid; windows begin on multiples of it."""
_LEAST = 0.02
"""Smallest deviation, in the features' unit."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Size of an `InferenceNetwork`.

    Attributes
    ----------
    channels : int
        Bands of the scene.
    widths : tuple of int
        Channels at a half, a quarter and an eighth of the scene's grid.
    blocks : tuple of int
        Residual blocks on the way down at these grids.
    """

    channels: int = 1
    widths: tuple[int, int, int] = (32, 64, 128)
    blocks: tuple[int, int, int] = (1, 2, 2)

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            value = tuple(getattr(self, name))
            if len(value) != 3 or min(value) < 1:
                raise ValueError(f"{name} is {list(value)}; it must be three numbers of at least 1")
            object.__setattr__(self, name, value)
        if self.channels < 1:
            raise ValueError(f"channels is {self.channels}; it must be at least 1")


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """A residual step."""
        moved: Tensor = x + self.second(F.relu(self.first(x)))
        return moved


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


class InferenceNetwork(nn.Module):
    """Convolutions at three resolutions, joined on the way up (Ronneberger et al. 2015), with residual blocks.

    Parameters
    ----------
    settings : NetworkSettings
        Its size.

    Attributes
    ----------
    bands : tuple of str
        Common names of the channels, in their order; empty for a network of one band, whatever it is.

    Notes
    -----
    Maps the features' stack to the change of the estimate and the deviation, both ``(B, C, H, W)`` in the features' unit.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.bands: tuple[str, ...] = ()
        (fine, middle, coarse), (first, second, third) = settings.widths, settings.blocks
        self.head = nn.Conv2d((4 * IMAGES + MAPS) * settings.channels, fine, 3, padding=1)
        self.fine_down, self.to_middle = _blocks(fine, first), nn.Conv2d(fine, middle, 2, 2)
        self.middle_down, self.to_coarse = _blocks(middle, second), nn.Conv2d(middle, coarse, 2, 2)
        self.coarse = _blocks(coarse, third)
        self.from_coarse, self.middle_up = nn.ConvTranspose2d(coarse, middle, 2, 2), _blocks(middle, second)
        self.from_middle, self.fine_up = nn.ConvTranspose2d(middle, fine, 2, 2), _blocks(fine, first + 1)
        self.change = nn.Conv2d(fine, 4 * settings.channels, 3, padding=1)
        self.spread = nn.Sequential(_Block(fine), nn.Conv2d(fine, 4 * settings.channels, 3, padding=1))
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)  # type: ignore[arg-type]

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Change of the estimate and deviation, float32."""
        height, width = stack.shape[-2:]
        padded = F.pad(stack, (0, -width % STEP, 0, -height % STEP), mode="replicate")
        images, maps = padded.split([n * self.settings.channels for n in (IMAGES, MAPS)], 1)
        fine = self.fine_down(self.head(torch.cat([F.pixel_unshuffle(images, 2), F.avg_pool2d(maps, 2)], 1)))
        middle = self.middle_down(self.to_middle(fine))
        middle = self.middle_up(middle + self.from_coarse(self.coarse(self.to_coarse(middle))))
        fine = self.fine_up(fine + self.from_middle(middle))
        change, spread = (F.pixel_shuffle(v, 2)[..., :height, :width].float() for v in (self.change(fine), self.spread(fine)))
        return change, F.softplus(spread) + _LEAST
