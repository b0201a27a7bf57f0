"""Patches with fresh noise: what regularisers are learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.bilevel.lower_level import LowerLevel
from imaging.bilevel.problem import BilevelProblem
from imaging.filters import binomial_taps, filtered
from imaging.training import check_within

_LITTLE = 10 / 255
"""Noise from which on smoothed images are closer to the minimisers than the images themselves."""


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """What patches a learning sees.

    Attributes
    ----------
    batch, crop : int
        Patches of a step, and their side.
    border : int
        Pixels at a patch's border whose errors do not count: responses that reach beyond it are missing.
    noise : tuple of float
        Range of the standard deviation in grey levels of 255, log-uniform, one for all patches of a step.
    gain : tuple of float
        Range of a random radiometric gain, log-uniform.
    shrink : float
        Share of steps whose patches are averages over 2 x 2 pixels.
    seed : int
        Of everything.
    """

    batch: int = 32
    crop: int = 64
    border: int = 8
    noise: tuple[float, float] = (5.0, 30.0)
    gain: tuple[float, float] = (1.0, 1.0)
    shrink: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_within(self, batch=(1, 10**5), crop=(1, 2**15), noise=(1e-3, 255), gain=(1e-6, 1e6), shrink=(0, 1))


def _log_uniform(generator: torch.Generator, bounds: tuple[float, float]) -> float:
    low, high = (math.log(b) for b in bounds)
    return math.exp(low + (high - low) * float(torch.rand((), generator=generator)))


@dataclass(frozen=True)
class Patches:
    """Denoising problems of random patches, each a function of seed and step alone.

    Parameters
    ----------
    images : sequence of Tensor
        ``(H, W)`` in [0, 1], at least twice as large as a patch where `PatchSettings.shrink` is used; drawn in proportion to their area.
    settings : PatchSettings
        Sizes and noise.
    lower : LowerLevel
        Its regulariser is told the noise.
    """

    images: Sequence[Tensor]
    settings: PatchSettings
    lower: LowerLevel

    def __call__(self, step: int) -> BilevelProblem:
        """The problem of a step."""
        s = self.settings
        generator = torch.Generator().manual_seed(1_000_003 * s.seed + step)
        noise, gain = _log_uniform(generator, s.noise) / 255, _log_uniform(generator, s.gain)
        factor = 2 if float(torch.rand((), generator=generator)) < s.shrink else 1
        areas = torch.tensor([float(i.numel()) for i in self.images])
        chosen = torch.multinomial(areas, s.batch, replacement=True, generator=generator).tolist()
        patches = [self._patch(self.images[k], factor * s.crop, generator) for k in chosen]
        truth = gain * torch.stack(patches)[:, None]
        if factor > 1:
            truth = F.avg_pool2d(truth, factor)
        drawn = torch.randn(truth.shape, generator=torch.Generator(truth.device).manual_seed(s.seed + step), device=truth.device)
        self.lower.regularizer.noise = noise
        return BilevelProblem(self.lower, truth + noise * drawn, truth, s.border)

    @staticmethod
    def _patch(image: Tensor, side: int, generator: torch.Generator) -> Tensor:
        row, column = (int(torch.randint(n - side + 1, (), generator=generator)) for n in image.shape)
        patch = image[row : row + side, column : column + side]
        turned = torch.rot90(patch, int(torch.randint(4, (), generator=generator)))
        return turned.flip(1) if float(torch.rand((), generator=generator)) < 0.5 else turned


def first_guess(y: Tensor, noise: float) -> Tensor:
    """Images ``(B, C, H, W)`` to start denoising from: smoothed by a binomial kernel of 5 x 5 where the noise is above 10 / 255."""
    return y if noise <= _LITTLE else filtered(y, binomial_taps(y))


def denoise(lower: LowerLevel, y: Tensor, theta: Tensor, noise: float, accuracy: float = 1e-3, reach: int = 12) -> Tensor:
    """Denoise images ``(B, C, H, W)``, continued by reflection so that pixels near the border are regularised like others.

    Parameters
    ----------
    lower : LowerLevel
        Without an operator.
    y, theta : Tensor
        Images in [0, 1], parameters.
    noise : float
        Standard deviation, in the images' unit.
    accuracy : float
        Certified root mean square distance of a pixel.
    reach : int
        Pixels of continuation.
    """
    padded = F.pad(y, (reach,) * 4, mode="reflect")
    lower.regularizer.noise = noise
    solution = lower.solve(padded, theta, accuracy * math.sqrt(padded[0].numel()), first_guess(padded, noise), limit=2000)
    return solution.x[..., reach:-reach, reach:-reach]
