"""What any posterior of a scene offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Posterior mean and standard deviation of each pixel, ``(B, C, H, W)``, in image units."""

    mean: Tensor
    std: Tensor


class Posterior(ABC):
    """A fitted posterior of a batch of scenes ``(B, C, H, W)``; nothing changes it."""

    @abstractmethod
    def moments(self, samples: int = 32, block: int = 1) -> Moments:
        """Mean and deviation of the pixels, or of means over ``block`` x ``block`` pixels, from so many samples where it needs them."""

    @abstractmethod
    def sample(self, n: int, first: int = 0) -> Tensor:
        """Posterior samples ``(n, B, C, H, W)``; sample ``first + k`` is the same for the same seed and absolute position."""

    def mean(self, samples: int = 32) -> Tensor:
        """Posterior mean ``(B, C, H, W)``."""
        return self.moments(samples).mean

    def std(self, samples: int = 32, block: int = 1) -> Tensor:
        """Posterior standard deviation ``(B, C, H, W)`` of the pixels, or of means over blocks of pixels, see `moments`."""
        return self.moments(samples, block).std

    def quantiles(self, levels: Sequence[float], samples: int = 64) -> Tensor:
        """Quantiles of each pixel's marginal, ``(len(levels), B, C, H, W)``, from samples: intervals that need not be symmetric.

        Parameters
        ----------
        levels : sequence of float
            In [0, 1].
        samples : int
            Behind them; the quantile of a level near 0 or 1 needs some multiple of its inverse.

        Raises
        ------
        ValueError
            For a level outside [0, 1].
        """
        return sample_quantiles(self.sample(samples), levels)


def check_levels(levels: Sequence[float]) -> None:
    """Refuse a quantile level outside [0, 1]; `ValueError` for the first of them."""
    wrong = [v for v in levels if not 0 <= v <= 1]
    if wrong:
        raise ValueError(f"quantile level {wrong[0]}; accepted are numbers from 0 to 1")


def sample_quantiles(samples: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles over the first dimension, ``(len(levels), ...)``, between order statistics; `ValueError` for a level outside [0, 1]."""
    check_levels(levels)
    ordered = samples.sort(0).values  # torch.quantile refuses more than 16 million values
    found = []
    for level in levels:
        place = level * (len(ordered) - 1)
        low = min(int(place), len(ordered) - 2) if len(ordered) > 1 else 0
        high = min(low + 1, len(ordered) - 1)
        found.append(torch.lerp(ordered[low], ordered[high], place - low))
    return torch.stack(found)
