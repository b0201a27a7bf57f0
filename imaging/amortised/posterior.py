"""The posterior of a pass: an image, a deviation for each pixel, and how the errors hang together; nothing that changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from imaging.amortised.correlation import ErrorField
from imaging.draws import normal, position_key
from imaging.errors import InputError
from imaging.moments import Moments, Posterior, check_levels

_FORMAT = "imaging amortised posterior 1"


@dataclass(frozen=True)
class ImagePosterior(Posterior):
    """Posterior of a batch of scenes: Gaussian errors of known deviation and known correlation around an image.

    Attributes
    ----------
    image, deviation : Tensor
        ``(B, C, H, W)`` posterior mean and standard deviation, image units.
    field : ErrorField
        Joint structure of the errors.
    origins : list of (int, int)
        Absolute row and column of each item's first pixel, on the scene's grid, which samples depend on.
    seed : int
        Of the samples.
    """

    image: Tensor
    deviation: Tensor
    field: ErrorField
    origins: list[tuple[int, int]]
    seed: int = 0

    def moments(self, samples: int = 0, block: int = 1) -> Moments:
        """Mean and standard deviation of each pixel, or of means over blocks, in closed form.

        Parameters
        ----------
        samples : int
            Without effect: nothing is sampled.
        block : int
            Side of blocks of pixels, from the first one on; rows and columns that fill no block are left out.
        """
        del samples
        if block == 1:
            return Moments(self.image, self.deviation)
        return Moments(torch.nn.functional.avg_pool2d(self.image, block), self.field.block_deviation(self.deviation, block))

    def std_of_sum(self, weights: Tensor) -> Tensor:
        """Standard deviation of a weighted sum of the pixels of each band, ``(B, C)``, in closed form.

        Parameters
        ----------
        weights : Tensor
            Broadcastable to ``(B, C, H, W)``.
        """
        return self.field.variance_of_sum(weights.to(self.deviation) * self.deviation).sqrt()

    def quantiles(self, levels: Sequence[float], samples: int = 0) -> Tensor:
        """Quantiles of each pixel's Gaussian marginal, ``(len(levels), B, C, H, W)``; `ValueError` for a level outside [0, 1]."""
        del samples
        check_levels(levels)
        places = [math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * v - 1, dtype=torch.float64))) for v in levels]
        return torch.stack([self.image + p * self.deviation for p in places])

    def sample(self, n: int, first: int = 0) -> Tensor:
        """Posterior samples, ``(n, B, C, H, W)``; sample ``first + k`` is always the same for the same seed and position."""
        radius = self.field.radius
        origins = [(row - radius, column - radius) for row, column in self.origins]
        shape = torch.Size((*self.image.shape[:2], *(n + 2 * radius for n in self.image.shape[2:])))
        key = position_key(shape, origins, self.seed, "x", self.image.device)
        fields = [self.field.shaped(normal(key, k, self.image.dtype)) for k in range(first, first + n)]
        return torch.stack([self.image + self.deviation * f for f in fields])


def save_image_posterior(posterior: ImagePosterior, path: Path | str) -> None:
    """Write a posterior to a safetensors file.

    Parameters
    ----------
    posterior : ImagePosterior
        What a pass gave.
    path : Path
        File to write.
    """
    field, origins = posterior.field, torch.tensor(posterior.origins, dtype=torch.int64)
    tensors = {"image": posterior.image, "deviation": posterior.deviation, "origins": origins}
    tensors |= {"kernels": field.kernels, "position": field.position}
    facts = {"format": _FORMAT, "seed": str(posterior.seed)}
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, path, facts)


def load_image_posterior(path: Path | str, device: torch.device | str = "cpu") -> ImagePosterior:
    """Read a posterior that `save_image_posterior` wrote; its moments and samples are those of the saved one.

    Parameters
    ----------
    path : Path
        The file.
    device : torch.device or str
        Where to put it.

    Raises
    ------
    InputError
        When the file holds no such posterior.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            facts = file.metadata() or {}
            t = {k: file.get_tensor(k) for k in file.keys()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as a safetensors file") from error
    if facts.get("format") != _FORMAT:
        raise InputError(f"{path} holds no posterior of a pass; only files that save_image_posterior wrote can be loaded")
    field = ErrorField(t["kernels"], t["position"])
    return ImagePosterior(t["image"], t["deviation"], field, [(int(r), int(c)) for r, c in t["origins"]], int(facts["seed"]))
