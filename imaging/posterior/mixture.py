"""The posterior over several placements of the latent lattice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imaging.moments import Moments, Posterior
from imaging.posterior.fitted import LatentPosterior, Variances, pooled


@dataclass(frozen=True)
class PosteriorMixture(Posterior):
    """Mixture, in equal parts, of posteriors whose latent lattices are shifted against each other.

    A block-based prior treats a pixel by its place in the block. Averaging over placements (cycle spinning, Coifman and Donoho 1995)
    removes that dependence and lowers the error of the mean.

    Attributes
    ----------
    parts : tuple of LatentPosterior
        Posteriors of the same scenes.
    """

    parts: tuple[LatentPosterior, ...]

    @property
    def objective(self) -> Tensor:
        """``(steps, B)`` objective during the fits, their mean, nats per scene pixel."""
        return torch.stack([p.objective for p in self.parts]).mean(0)

    def moments(self, samples: int = 32, block: int = 1) -> Moments:
        """Mean and standard deviation of the mixture, from ``samples`` latent samples in all, at least one pair of each part.

        With a ``block``, of means over blocks of that many pixels along each side, see `LatentPosterior.moments`.
        """
        return self.variances(samples, block).moments()

    def variances(self, samples: int = 32, block: int = 1) -> Variances:
        """Mean and variances of the mixture, see `LatentPosterior.variances`."""
        found = [p.variances(max(2, samples // len(self.parts)), block) for p in self.parts]
        mean, latents, image = (torch.stack(v).mean(0) for v in list(zip(*found, strict=True))[:3])
        return Variances(mean, latents, image, pooled(torch.stack([(v.mean - mean).square() for v in found]).mean(0)))

    def sample(self, n: int, first: int = 0) -> Tensor:
        """Posterior samples, ``(n, B, C, H, W)``, the parts in turn."""
        count = len(self.parts)
        return torch.cat([self.parts[k % count].sample(1, first=k // count) for k in range(first, first + n)])
