"""The lapped autoencoder: a compressive autoencoder that is cheap on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.priors.anchored import BLOCK, AnchoredPrior
from imaging.priors.base import Latents
from imaging.priors.factorized import FactorizedDensity
from imaging.priors.lapped import frequency_order
from imaging.priors.networks import CausalBlock, GroupCausalConv2d, zero
from imaging.priors.rate import SCALE_BOUND, SCALE_REACH, bounded, decoder_deviation, log_bottleneck, log_uniform_gaussian


class LappedAutoencoder(AnchoredPrior):
    """Mean-scale hyperprior anchored on a lapped transform, with a context model and a decoder of standard deviations.

    Analysis and synthesis are a lapped 8x8 block transform plus a learned correction, so that the untrained model already is a transform
    codec. One latent per pixel and channel. Nearly all arithmetic is 3x3 convolutions at 1/8 and 1/4 resolution, which are cheap on a CPU:
    the decoder runs in each iteration of a posterior fit. The corrections see the lowest frequency only relative to its surroundings, so
    that dark and bright scenes look alike to them.

    ``alpha`` is the weight of the squared error (grey levels of 255) against bits per pixel in training, and sets `gamma`, see
    `decoder_deviation`. ``width`` and ``blocks`` are width and number of the decoder's residual blocks at 1/8 resolution, ``fine`` and
    ``fine_blocks`` those at 1/4, ``hidden`` and ``context_blocks`` those of the context model; ``hyper`` is the number of hyper-latent
    channels.
    """

    def __init__(
        self, channels: int = 1, alpha: float = 0.18, *, width: int = 96, blocks: int = 3, fine: int = 48, fine_blocks: int = 2,
        hyper: int = 48, hidden: int = 128, context_blocks: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(channels)
        self.settings = {
            "channels": channels, "alpha": alpha, "width": width, "blocks": blocks, "fine": fine, "fine_blocks": fine_blocks,
            "hyper": hyper, "hidden": hidden, "context_blocks": context_blocks,
        }  # fmt: skip
        self.hyper_stride = 4 * BLOCK
        self.gamma = decoder_deviation(channels, alpha)
        # A uniform error of one step, 1 / gain, has the standard deviation gamma.
        self.gain = 1 / (math.sqrt(12) * self.gamma)
        count = self.latents
        self._make_networks(width, blocks, fine, fine_blocks, bias=math.log(self.gamma / (1 - self.gamma)))
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(count, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 5, 2, 2),
            nn.GELU(),
            nn.Conv2d(width, hyper, 5, 2, 2),
        )
        self.hyper_decoder = nn.Sequential(
            nn.Conv2d(hyper, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.GELU(),
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.GELU(),
            nn.Conv2d(width, hidden, 3, padding=1),
        )
        self._make_context(hidden, context_blocks)
        self.bottleneck = FactorizedDensity(hyper)

    def _make_context(self, hidden: int, blocks: int) -> None:
        bounds = (3, 5, 8)  # diagonals that end the first three groups: 6, 9, 21 and 28 frequencies
        frequencies = [sum(i + j >= b for b in bounds) for i, j in frequency_order(BLOCK)]
        # Of several components the first, in which the bands agree, comes before the others of its group of frequencies.
        parts = min(self.channels, 2)
        groups = [parts * g + min(k, parts - 1) for g in frequencies for k in range(self.channels)]
        self.causal_groups = groups
        self.hidden_groups = inside = [i * 4 * parts // hidden for i in range(hidden)]
        # The lowest frequency enters as two differences, towards the left and the upper neighbour.
        self.context = GroupCausalConv2d(groups[: self.channels] + groups, inside, 5, strict=True)
        self.mixing = GroupCausalConv2d(inside, inside, 1, strict=False)
        self.refining = nn.Sequential(*(CausalBlock(inside) for _ in range(blocks)))
        self.head = GroupCausalConv2d(inside, groups + groups, 1, strict=False)
        zero(self.head)

    def _relative(self, z: Tensor) -> Tensor:
        """Latents relative to their scale, compressed, the lowest frequency relative to its neighbourhood."""
        c = self.channels
        low = z[:, :c]
        around = F.avg_pool2d(low, 3, 1, 1, count_include_pad=False)
        return torch.asinh(torch.cat([low - around, z[:, c:]], 1) / self.z_scale)

    def conditional(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of p(z | h, causal z)."""
        c = self.channels
        low = z[:, :c].to(torch.promote_types(z.dtype, torch.float32))
        left = torch.cat([self.z_mean[:, :c].expand(len(z), -1, low.shape[2], 1), low[..., :-1]], 3)
        above = torch.cat([left[:, :, :1], low[:, :, :-1]], 2)
        left = torch.cat([torch.cat([left[:, :, :1, :1], above[:, :, 1:, :1]], 2), left[..., 1:]], 3)
        scale = self.z_scale
        relative = torch.cat([(low - left) / scale[:, :c], (low - above) / scale[:, :c], z[:, c:] / scale[:, c:]], 1)
        features = self.context(torch.asinh(relative)) + self.hyper_decoder(h * 0.2)
        features = self.refining(F.gelu(features + self.mixing(F.gelu(features))))
        with torch.autocast(z.device.type, enabled=False):
            shift, log_scale = self.head(features.to(z.dtype)).chunk(2, 1)
            base = torch.cat([(left + above) / 2, self.z_mean[:, c:].expand_as(z[:, c:])], 1)
            mean = base + shift * scale
            return mean, bounded(scale * torch.exp(bounded(2 * log_scale - 0.5, -6, 3, reach=0.1)), SCALE_BOUND, reach=SCALE_REACH)

    def encode(self, x: Tensor) -> Latents:
        """Latents of images ``(B, C, H, W)``, noise-free."""
        linear = self._coefficients(x) * self.gain
        z = linear + 2 * self.encoder(self._relative(linear))
        return Latents(z, (self.hyper_encoder(self._relative(z)) * 5).to(z.dtype))

    def decode(self, z: Tensor) -> Tensor:
        """Mean of p(x | z); float32 in the linear part even under autocast."""
        return self._image(z, self._relative(z))

    def _image(self, z: Tensor, relative: Tensor) -> Tensor:
        image: Tensor = (self._synthesise(z) + 2 * self.decoder(relative)) / self.gain
        return image

    def linear(self, z: Tensor) -> Tensor:
        """Inverse lapped transform of the latents alone, float32 even under autocast."""
        return self._synthesise(z) / self.gain

    def linear_variance(self, variance: Tensor, block: int = 1) -> Tensor | None:
        """Variance of `linear`, or of its means over blocks, for independent latents."""
        found = self._synthesised_variance(variance, block)
        return None if found is None else found / self.gain**2

    def decode_std(self, z: Tensor) -> Tensor:
        """Standard deviation of p(x | z), at least 2e-4."""
        return self._deviation(z, self._relative(z))

    def _deviation(self, z: Tensor, relative: Tensor) -> Tensor:
        return torch.sigmoid(self.std_decoder(relative).to(z.dtype)) + 2e-4

    def decode_with_std(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`decode` and `decode_std` at once."""
        relative = self._relative(z)
        return self._image(z, relative), self._deviation(z, relative)

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """``log p(z | h) + log p(h)`` of each item, nats."""
        mean, scale = self.conditional(z, h)
        return log_uniform_gaussian(z, mean, scale).sum((1, 2, 3)) + log_bottleneck(self.bottleneck, h).sum((1, 2, 3))

    @torch.no_grad()
    def set_statistics(self, x: Tensor) -> None:
        """Take the mixture of the bands, and location and scale of each latent channel, from training images ``(B, C, H, W)``."""
        self._mix_bands(x)
        z = (self._coefficients(x) * self.gain)[..., 1:-1, 1:-1]
        self.z_mean.copy_(z.mean((0, 2, 3), keepdim=True))
        c = self.channels
        difference = (z[:, :c, :, 1:] - z[:, :c, :, :-1]).std((0, 2, 3), keepdim=True)
        self.z_scale.copy_(torch.cat([difference, z[:, c:].std((0, 2, 3), keepdim=True)], 1) + 0.05)
