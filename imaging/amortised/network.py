"""The inference network: features in, a change of the estimate and a deviation out, in the features' unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.amortised.features import IMAGES, MAPS

STEP = 8
"""Pixels of the scene to one of the coarsest grid; windows begin on multiples of it."""
FLIPS: tuple[tuple[int, ...], ...] = ((), (-2, -1), (-2,), (-1,))
"""Orientations over which results can be averaged, as axes that are turned over."""
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
    images, maps : int
        Features of each band that are images, and those that are smooth maps.
    """

    channels: int = 1
    widths: tuple[int, int, int] = (32, 64, 128)
    blocks: tuple[int, int, int] = (1, 2, 2)
    images: int = IMAGES
    maps: int = MAPS

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            value = tuple(getattr(self, name))
            if len(value) != 3 or min(value) < 1:
                raise ValueError(f"{name} is {list(value)}; it must be three numbers of at least 1")
            object.__setattr__(self, name, value)
        for name in ("channels", "images", "maps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """A residual step."""
        moved: Tensor = self.second(F.relu_(self.first(x)))
        moved += x
        return moved


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


class _Exchange(nn.Module):
    """A residual step over the channels of all bands, ``(B bands, width, H, W)``, that begins as none."""

    def __init__(self, width: int, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.first, self.second = (nn.Conv2d(width * bands, width * bands, 1) for _ in range(2))
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """What each band makes of all."""
        joint = x.unflatten(0, (-1, self.bands)).flatten(1, 2)
        moved: Tensor = x + self.second(F.relu_(self.first(joint))).unflatten(1, (self.bands, -1)).flatten(0, 1)
        return moved


class InferenceNetwork(nn.Module):
    """Convolutions at three resolutions, joined on the way up (Ronneberger et al. 2015), with residual blocks.

    Each band takes the same way; of several, all see each other before and after each resolution. So a network of several bands begins
    with the weights of one for a single band, and gives what that gives.

    Parameters
    ----------
    settings : NetworkSettings
        Its size.

    Attributes
    ----------
    bands : tuple of str
        Common names of the channels, in their order; empty for a network of one band, whatever it is.
    factor : float
        On deviations, the same for all scenes and sensors; from calibration scenes.

    Notes
    -----
    Maps the features' stack ``(B, C, images + maps, H, W)`` to the change of the estimate and the deviation, both ``(B, C, H, W)`` in the
    features' unit.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.bands: tuple[str, ...] = ()
        self.factor = 1.0
        (fine, middle, coarse), (first, second, third) = settings.widths, settings.blocks
        self.head = nn.Conv2d(4 * settings.images + settings.maps, fine, 3, padding=1)
        self.fine_down, self.to_middle = _blocks(fine, first), nn.Conv2d(fine, middle, 2, 2)
        self.middle_down, self.to_coarse = _blocks(middle, second), nn.Conv2d(middle, coarse, 2, 2)
        self.coarse = _blocks(coarse, third)
        self.from_coarse, self.middle_up = nn.ConvTranspose2d(coarse, middle, 2, 2), _blocks(middle, second)
        self.from_middle, self.fine_up = nn.ConvTranspose2d(middle, fine, 2, 2), _blocks(fine, first + 1)
        self.change = nn.Conv2d(fine, 4, 3, padding=1)
        self.spread = nn.Sequential(_Block(fine), nn.Conv2d(fine, 4, 3, padding=1))
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)  # type: ignore[arg-type]
        bands = settings.channels
        self.exchanges = nn.ModuleList(_Exchange(width, bands) for width in ((fine, middle, coarse, middle, fine) if bands > 1 else ()))

    def begin_from(self, single: InferenceNetwork) -> None:
        """Take the weights of a network of one band or as many, of the same widths and blocks; `ValueError` when they do not fit.

        Features that it does not have get no weight.
        """
        own, given = self.state_dict(), single.state_dict()
        images, maps = given["head.weight"].split([4 * single.settings.images, single.settings.maps], 1)
        more = [n - v.shape[1] for n, v in ((4 * self.settings.images, images), (self.settings.maps, maps))]
        if min(more) >= 0:
            given["head.weight"] = torch.cat([F.pad(v, (0, 0, 0, 0, 0, n)) for v, n in zip((images, maps), more, strict=True)], 1)
        if any(k not in own or own[k].shape != v.shape for k, v in given.items()):
            raise ValueError(f"a network of {single.settings} does not fit one of {self.settings}")
        self.load_state_dict(own | given)

    def _seen(self, stack: Tensor) -> Tensor:
        """The features of each band at half the resolution, ``(B C, 4 images + maps, H / 2, W / 2)``."""
        images, maps = stack.flatten(0, 1).split([self.settings.images, self.settings.maps], 1)
        return torch.cat([F.pixel_unshuffle(images, 2), F.avg_pool2d(maps, 2)], 1).contiguous(memory_format=torch.channels_last)

    def _once(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Change and deviation, of a stack whose sides are multiples of `STEP`."""
        exchanges = iter(self.exchanges or [nn.Identity()] * 5)
        fine = next(exchanges)(self.fine_down(self.head(self._seen(stack))))
        middle = next(exchanges)(self.middle_down(self.to_middle(fine)))
        coarse = next(exchanges)(self.coarse(self.to_coarse(middle)))
        middle = next(exchanges)(self.middle_up(middle + self.from_coarse(coarse)))
        fine = next(exchanges)(self.fine_up(fine + self.from_middle(middle)))
        bands = self.settings.channels
        change, spread = (
            F.pixel_shuffle(v, 2).unflatten(0, (-1, bands)).squeeze(2).float() for v in (self.change(fine), self.spread(fine))
        )
        return change, self.factor * (F.softplus(spread) + _LEAST)

    def forward(self, stack: Tensor, orientations: int = 1) -> tuple[Tensor, Tensor]:
        """Change of the estimate and deviation, float32; means over the scene turned over in so many ways, of `FLIPS`."""
        height, width = stack.shape[-2:]
        if height % STEP or width % STEP:  # before it is turned: what a pixel gets depends on its place in a square of STEP
            flat = F.pad(stack.flatten(0, 1), (0, -width % STEP, 0, -height % STEP), mode="replicate")
            stack = flat.unflatten(0, stack.shape[:2])
        change, spread = self._once(stack)
        for axes in FLIPS[1:orientations]:
            turned = self._once(stack.flip(axes))
            change, spread = change + turned[0].flip(axes), spread + turned[1].flip(axes)
        change, spread = (v[..., :height, :width] for v in (change, spread))
        return (change, spread) if orientations == 1 else (change / orientations, spread / orientations)
