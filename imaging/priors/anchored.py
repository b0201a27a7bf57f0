"""Autoencoders that start as a lapped block transform."""

from __future__ import annotations

from abc import ABC

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.priors.base import LatentPrior
from imaging.priors.lapped import frequency_order, lapped_kernels
from imaging.priors.networks import ResidualBlock, refiner, zero

BLOCK = 8


class AnchoredPrior(LatentPrior, ABC):
    """A latent prior whose analysis and synthesis start as an orthogonal mixture of the bands and a lapped 8x8 block transform.

    Of an image of any number of channels there is one latent per pixel and channel, at 1/8 resolution; latents are frequency-major,
    components of the band mixture within.
    """

    std_decoder: nn.Module
    z_scale: Tensor
    z_mean: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.stride, self.border = channels, BLOCK, BLOCK
        self.latents = channels * BLOCK**2
        self.analysis = nn.Conv2d(self.latents, self.latents, 3, padding=1, bias=False)
        self.synthesis = nn.Conv2d(self.latents, self.latents, 3, padding=1, bias=False)
        self.anchor(torch.eye(channels))
        self.register_buffer("z_scale", torch.ones(1, self.latents, 1, 1))
        self.register_buffer("z_mean", torch.zeros(1, self.latents, 1, 1))

    def _make_networks(self, width: int, blocks: int, fine: int, fine_blocks: int, outputs: int = 1, bias: float = 0.0) -> None:
        """Encoder, of so many outputs for each latent, decoder and decoder of deviations, whose last bias is given."""
        count = self.latents
        self.encoder = nn.Sequential(
            nn.Conv2d(count, width, 3, padding=1),
            ResidualBlock(width),
            ResidualBlock(width),
            zero(nn.Conv2d(width, outputs * count, 3, padding=1)),
        )
        self.decoder = refiner(count, width, blocks, fine, fine_blocks, self.channels)
        self.std_decoder = refiner(count, 2 * width // 3, 1, fine // 2, 1, self.channels, bias)

    def squared_frequency(self) -> Tensor:
        """Squared spatial frequency of each latent channel, over that of Nyquist along one axis; ``(M,)``, from 0 to below 2."""
        return torch.tensor([(i * i + j * j) / BLOCK**2 for i, j in frequency_order(BLOCK)]).repeat_interleave(self.channels)

    def slow_parameters(self) -> list[nn.Parameter]:
        """The block transform itself."""
        return [*self.analysis.parameters(), *self.synthesis.parameters()]

    @torch.no_grad()
    def anchor(self, mixture: Tensor, kernels: tuple[Tensor, Tensor] | None = None) -> None:
        """Start as a block transform of each component of the bands, a row of an orthogonal ``(C, C)`` mixture.

        The mixture is kept as `mixture` until another one is given, but not with the weights. ``kernels`` are analysis and synthesis of one
        band, ``(64, 64, 3, 3)`` each; the lapped transform where not given.
        """
        self.mixture = mixture
        forward, backward = kernels or lapped_kernels(BLOCK)
        n, c = BLOCK**2, self.channels
        for component in range(c):
            for band in range(c):
                weight = float(mixture[component, band])
                self.analysis.weight[component::c, band * n : (band + 1) * n] = weight * forward
                self.synthesis.weight[band * n : (band + 1) * n, component::c] = weight * backward

    def _coefficients(self, x: Tensor) -> Tensor:
        """Block transform of images, float32 even under autocast."""
        with torch.autocast(x.device.type, enabled=False):
            z: Tensor = self.analysis(F.pixel_unshuffle(x, BLOCK))
            return z

    def _synthesise(self, coefficients: Tensor) -> Tensor:
        """Inverse block transform, float32 even under autocast."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return F.pixel_shuffle(self.synthesis(coefficients), BLOCK)

    def _synthesised_variance(self, variance: Tensor, block: int) -> Tensor | None:
        """Variance of `_synthesise`, or of its means over blocks, for independent coefficients; None for a block that divides no 8."""
        if BLOCK % block:
            return None
        rows = BLOCK // block
        weight = self.synthesis.weight.to(variance.dtype).reshape(self.channels, rows, block, rows, block, self.latents, 3, 3)
        weight = weight.mean((2, 4)).reshape(self.channels * rows**2, self.latents, 3, 3)
        return F.pixel_shuffle(F.conv2d(variance, weight.square(), padding=1), rows)

    @torch.no_grad()
    def _mix_bands(self, x: Tensor) -> None:
        """Anchor on the principal components of the bands of images ``(B, C, H, W)``, all frequencies but the lowest taken together."""
        c = self.channels
        if c == 1:
            return
        detail = self._coefficients(x)[:, c:, 1:-1, 1:-1].float()
        values = detail.reshape(len(x), -1, c, *detail.shape[2:]).transpose(1, 2).reshape(len(x), c, -1)
        axes = torch.linalg.eigh(torch.einsum("bik,bjk->ij", values, values).double()).eigenvectors.flip(1).T
        axes = axes * torch.where(axes.sum(1, keepdim=True) < 0, -1.0, 1.0)
        self.anchor(axes.to(x.dtype))
