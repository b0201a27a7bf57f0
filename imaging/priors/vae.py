"""A variational autoencoder with one level of Gaussian latents."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from imaging.priors.anchored import AnchoredPrior
from imaging.priors.base import Latents

_WIDEST = 0.0
"""Largest logarithm of the encoder's standard deviation: that of the prior itself."""


class VariationalAutoencoder(AnchoredPrior):
    """One level of latents, ``p(z) = N(0, I)``, and a decoder whose deviation is learned: the simple case of the method.

    Analysis and synthesis start as a lapped block transform whose coefficients are brought to unit variance, as in the lapped autoencoder,
    so that the untrained model is the best Gaussian one without correlations. ``width`` and ``blocks`` are width and number of the
    decoder's residual blocks at 1/8 resolution, ``fine`` and ``fine_blocks`` those at 1/4.

    After Kingma and Welling (2014); the decoder's deviation is one learned number, as in Rybkin, Daniilidis and Levine (2021), until the
    decoder of standard deviations is trained. Rates cannot be modulated as in a compressive autoencoder: the latents have no quantisation
    step.
    """

    density = "gaussian"

    def __init__(self, channels: int = 1, *, width: int = 64, blocks: int = 2, fine: int = 32, fine_blocks: int = 1) -> None:
        super().__init__(channels)
        self.settings = {"channels": channels, "width": width, "blocks": blocks, "fine": fine, "fine_blocks": fine_blocks}
        self.hyper_stride = self.stride
        self.log_gamma = nn.Parameter(torch.tensor(math.log(4 / 255)))
        self._make_networks(width, blocks, fine, fine_blocks, outputs=2)

    @property
    def gamma(self) -> float:  # type: ignore[override]
        """Learned standard deviation of the decoder's error, image units."""
        return math.exp(float(self.log_gamma.detach()))

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation of q(z | x)."""
        linear = (self._coefficients(x) - self.z_mean) / self.z_scale
        shift, log_std = self.encoder(torch.asinh(linear)).to(x.dtype).chunk(2, 1)
        # Without correction: the posterior of a coefficient of variance z_scale^2 known to within gamma.
        start = self.log_gamma - torch.log(self.z_scale.square() + (2 * self.log_gamma).exp()) / 2
        return linear + shift, (start + log_std).clamp(max=_WIDEST)

    def encode(self, x: Tensor) -> Latents:
        """Means of the latents of images ``(B, C, H, W)``; there are no hyper-latents."""
        z = self._posterior(x)[0]
        return Latents(z, z.new_zeros(len(z), 0, *z.shape[2:]))

    def perturb(self, x: Tensor, widths: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Latents drawn from q(z | x), and its divergence from the prior in closed form; ``widths`` says nothing here."""
        del widths
        mean, log_std = self._posterior(x)
        divergence = (mean.square() + (2 * log_std).exp() - 1) / 2 - log_std
        return mean + log_std.exp() * torch.randn_like(mean), divergence.sum((1, 2, 3))

    def objective(self, error: Tensor, bits: Tensor) -> Tensor:
        """Negative evidence lower bound, bits per pixel."""
        scaled = error / (2 * (2 * self.log_gamma).exp()) + self.log_gamma + math.log(2 * math.pi) / 2
        return self.channels * scaled / math.log(2) + bits

    def decode(self, z: Tensor) -> Tensor:
        """Mean of p(x | z)."""
        correction = self.log_gamma.detach().exp() * self.decoder(torch.asinh(z))
        image: Tensor = self._synthesise(z * self.z_scale + self.z_mean) + correction.to(z.dtype)
        return image

    def decode_std(self, z: Tensor) -> Tensor:
        """Standard deviation of p(x | z): exponential of the second decoder, relative to the learned one."""
        relative = self.std_decoder(torch.asinh(z)).to(z.dtype)
        deviation: Tensor = (self.log_gamma + relative.clamp(-6, 3)).exp()
        return deviation

    def linear(self, z: Tensor) -> Tensor:
        """Linear part of `decode`."""
        return self._synthesise(z * self.z_scale)

    def linear_variance(self, variance: Tensor, block: int = 1) -> Tensor | None:
        """Variance of `linear`, or of its means over blocks, for independent latents."""
        return self._synthesised_variance(variance * self.z_scale.square(), block)

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """``log p(z)`` of each item, nats."""
        del h
        return -(z.square() + math.log(2 * math.pi)).sum((1, 2, 3)) / 2

    @torch.no_grad()
    def set_statistics(self, x: Tensor) -> None:
        """Take the mixture of the bands, and location and scale of each latent channel, from training images ``(B, C, H, W)``."""
        self._mix_bands(x)
        z = self._coefficients(x)[..., 1:-1, 1:-1]
        self.z_mean.copy_(z.mean((0, 2, 3), keepdim=True))
        self.z_scale.copy_(z.std((0, 2, 3), keepdim=True) + 1e-4)
