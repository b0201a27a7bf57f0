"""Variational families of the latents: what is optimised, how it is drawn, and its entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_WIDTH_RANGE = (-11.0, 3.0)
"""Bounds of the logarithm of a full width (uniform) or deviation (Gaussian), 1.7e-5 to 20; a fit returns to them after each step."""


@dataclass(frozen=True)
class Uniform:
    """Independent uniform densities; ``log_width`` is the logarithm of the full width."""

    centre: Tensor
    log_width: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Latents from uniform ``noise`` in (-1/2, 1/2)."""
        return self.centre + self.log_width.exp() * noise

    def variance(self) -> Tensor:
        """Variance of each latent."""
        return (2 * self.log_width).exp() / 12

    def scaled(self, factor: float) -> Uniform:
        """Densities of so many times the variance."""
        return self if factor == 1 else Uniform(self.centre, self.log_width + math.log(factor) / 2)

    def entropy(self) -> Tensor:
        """Nats of each item, ``(B,)``."""
        return self.log_width.sum((1, 2, 3))


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian densities, for the latents of a variational autoencoder; ``log_std`` is the logarithm of the deviation."""

    centre: Tensor
    log_std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Latents from uniform ``noise`` in (-1/2, 1/2), by the inverse distribution function."""
        return self.centre + self.log_std.exp() * math.sqrt(2) * torch.erfinv(2 * noise)

    def variance(self) -> Tensor:
        """Variance of each latent."""
        return (2 * self.log_std).exp()

    def scaled(self, factor: float) -> Gaussian:
        """Densities of so many times the variance."""
        return self if factor == 1 else Gaussian(self.centre, self.log_std + math.log(factor) / 2)

    def entropy(self) -> Tensor:
        """Nats of each item, ``(B,)``."""
        return (self.log_std + (1 + math.log(2 * math.pi)) / 2).sum((1, 2, 3))


@dataclass(frozen=True)
class Dirac:
    """A point: maximum a posteriori in the latent space."""

    centre: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """The point itself."""
        del noise
        return self.centre

    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.centre)

    def scaled(self, factor: float) -> Dirac:
        """The point itself."""
        del factor
        return self

    def entropy(self) -> Tensor:
        """Zero for each item (the infinite constant is dropped)."""
        return self.centre.new_zeros(len(self.centre))


Family = Uniform | Gaussian | Dirac
