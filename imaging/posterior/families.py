"""Variational families of the latents: what is optimised, how it is drawn, and its entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOG_WIDTH_RANGE = (-11.0, 3.0)
"""Bounds of the logarithm of the uniform family's full width, 1.7e-5 to 20; a fit returns to them after each step."""


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

    def entropy(self) -> Tensor:
        """Nats of each item, ``(B,)``."""
        return self.log_width.sum((1, 2, 3))


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

    def entropy(self) -> Tensor:
        """Zero for each item (the infinite constant is dropped)."""
        return self.centre.new_zeros(len(self.centre))


Family = Uniform | Dirac
