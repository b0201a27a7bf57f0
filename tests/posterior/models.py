"""A prior whose posterior is known exactly: Gaussian latents, linear decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.posterior import LatentPosterior
from imaging.priors import LatentPrior, Latents
from imaging.sensors import SensorPhysics, SignalDependentNoise


class LinearPrior(LatentPrior):
    """Latents and hyper-latents N(0, I) that do not meet; a 3 x 3 convolution and a pixel shuffle decode.

    ``known`` says whether the prior tells of its linear part; ``lively`` makes the decoder's deviation follow the latents.
    """

    channels, stride, hyper_stride, border, gamma = 1, 2, 4, 0, 0.05

    def __init__(self, *, known: bool = False, lively: bool = False, factor: float = 1.0) -> None:
        super().__init__()
        weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        self.weight = nn.Parameter(0.12 * factor * weight, requires_grad=False)
        self.known, self.lively, self.factor = known, lively, factor

    def encode(self, x: Tensor) -> Latents:
        """A start that knows nothing."""
        height, width = x.shape[-2:]
        return Latents(x.new_zeros(len(x), 3, height // 2, width // 2), x.new_zeros(len(x), 1, height // 4, width // 4))

    def decode(self, z: Tensor) -> Tensor:
        """Linear."""
        return F.pixel_shuffle(F.conv2d(z, self.weight.to(z.dtype), padding=1), 2)

    def decode_std(self, z: Tensor) -> Tensor:
        """0.1, or around it."""
        spread = 0.1 * self.factor * torch.ones_like(self.decode(z))
        return spread * (1 + 0.9 * torch.tanh(2 * F.interpolate(z[:, :1], scale_factor=2))) if self.lively else spread

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """Standard normal."""
        return -sum((v.square() / 2 + math.log(2 * math.pi) / 2).sum((1, 2, 3)) for v in (z, h))  # type: ignore[return-value]

    def linear(self, z: Tensor) -> Tensor | None:
        """All of it."""
        return self.decode(z) if self.known else None

    def linear_variance(self, variance: Tensor, block: int = 1) -> Tensor | None:
        """Squared weights; of pixels only."""
        if block > 1:
            return None
        return F.pixel_shuffle(F.conv2d(variance, self.weight.to(variance.dtype).square(), padding=1), 2) if self.known else None


def binomial(x: Tensor) -> Tensor:
    """Weighted means over 5 x 5 pixels of ``(1, 1, H, W)``, as of a sampled variance."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), torch.outer(row, row)[None, None] / 256)


@dataclass(frozen=True)
class Problem:
    """A measurement of a scene drawn from the prior, with constant noise, and its exact posterior."""

    prior: LinearPrior
    physics: SensorPhysics
    y: Tensor
    sigma: float
    mask: Tensor | None = None

    def matrix(self, posterior: LatentPosterior) -> Tensor:
        """Measurements (masked ones zero) of each latent's unit vector, ``(measurements, latents)``."""
        shape = posterior.family.centre.shape[1:]
        basis = torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, *shape)
        seen = self.physics.A(posterior.frame.crop(self.prior.decode(basis)) / posterior.rate_scale[0])
        return (seen if self.mask is None else seen * self.mask).flatten(1).T

    def exact(self, posterior: LatentPosterior) -> tuple[Tensor, Tensor]:
        """Mean and precision matrix of the latents given the measurement."""
        seen = self.matrix(posterior)
        precision = torch.eye(seen.shape[1], dtype=torch.float64) + seen.T @ seen / self.sigma**2
        y = self.y if self.mask is None else self.y * self.mask
        return torch.linalg.solve(precision, seen.T @ y.flatten() / self.sigma**2), precision


def problem(*, sigma: float = 0.1, masked: bool = False, **prior: bool | float) -> Problem:
    """An 11 x 9 measurement through an asymmetric blur."""
    generator = torch.Generator().manual_seed(11)
    psf = torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    noise = SignalDependentNoise(torch.tensor([sigma]), torch.tensor([0.0]))
    physics = SensorPhysics(psf / psf.sum(), noise, 2)
    model = LinearPrior(**prior)  # type: ignore[arg-type]
    scene = model.decode(torch.randn(1, 3, 8, 8, generator=generator, dtype=torch.float64))[..., :15, :13]
    y = physics.A(scene) + sigma * torch.randn(1, 1, 11, 9, generator=generator, dtype=torch.float64)
    mask = None
    if masked:
        mask = torch.ones_like(y)
        mask[..., 3:8, 2:7] = 0
        y = torch.where(mask > 0, y, 1000.0)
    return Problem(model, physics, y, float(noise.sigma0), mask)
