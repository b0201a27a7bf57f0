"""Published compressive autoencoders, state-dict compatible with compressai, for any number of channels."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from compressai.models import Cheng2020Attention, FactorizedPrior, JointAutoregressiveHierarchicalPriors, MeanScaleHyperprior
from torch import Tensor, nn

from imaging.priors.base import LatentPrior, Latents
from imaging.priors.factorized import FactorizedDensity
from imaging.priors.rate import SCALE_BOUND, SCALE_REACH, bounded, decoder_deviation, log_bottleneck, log_uniform_gaussian

SPREAD_FLOOR = 2e-4
"""Smallest standard deviation of a decoder, image units (VBLE-xz)."""


def _with_channels(conv: nn.Conv2d | nn.ConvTranspose2d, channels: int, side: str) -> nn.Module:
    """A new convolution like another one, for images of ``channels`` channels instead of three on its ``side``, in or out."""
    factor = conv.out_channels // 3  # 4 where a pixel shuffle follows
    sizes = (channels, conv.out_channels) if side == "in" else (conv.in_channels, factor * channels)
    shape: dict[str, Any] = {k: getattr(conv, k) for k in ("kernel_size", "stride", "padding")}
    if isinstance(conv, nn.ConvTranspose2d):
        shape["output_padding"] = conv.output_padding
    return type(conv)(*sizes, **shape)


def _open_to(network: nn.Sequential, channels: int, side: str) -> None:
    """Give the image side of a network, its first or its last stage, another number of channels."""
    index = 0 if side == "in" else len(network) - 1
    stage = network[index]
    if isinstance(stage, (nn.Conv2d, nn.ConvTranspose2d)):
        network[index] = _with_channels(stage, channels, side)
        return
    for name, child in list(stage.named_children()):
        if isinstance(child, nn.Conv2d) and (side == "out" or child.in_channels == 3):
            setattr(stage, name, _with_channels(child, channels, side))


def _density_of(bottleneck: nn.Module) -> FactorizedDensity:
    """The density of an entropy bottleneck of compressai."""
    found = FactorizedDensity(bottleneck.channels)  # type: ignore[arg-type]
    found.load_state_dict(bottleneck.state_dict())
    return found


class PublishedAutoencoder(LatentPrior):
    """What the compressai families share: their modules under their names, and optionally a second decoder for standard deviations.

    ``alpha`` is the weight of the squared error (grey levels of 255) against bits per pixel in training, and sets `gamma`. ``hidden`` and
    ``latents``, the width of the networks and the number of main latent channels, are N and M of compressai. A ``replicated`` model has
    networks of three channels, to each of which its one image channel is given and whose outputs are averaged, as panchromatic models
    retrained from photographic ones do. With ``spread`` there is a decoder of standard deviations (`std_decoder`, of the layout of
    ``g_s``); without one the deviation is `gamma`.

    The names of compressai, ``y`` and ``z``, are `z` and `h` here; its state dicts load unchanged. Its likelihoods, which have a floor of
    1e-9 without gradient, are replaced by those of `imaging.priors.rate`.
    """

    source: type[nn.Module]
    """Class of compressai."""
    g_a: nn.Sequential
    g_s: nn.Sequential
    h_a: nn.Sequential
    h_s: nn.Sequential
    entropy_bottleneck: FactorizedDensity
    context_prediction: Any
    entropy_parameters: nn.Sequential
    stride, hyper_stride, border = 16, 64, 0

    def __init__(
        self, channels: int = 3, alpha: float = 0.18, *, hidden: int = 192, latents: int = 192,
        replicated: bool = False, spread: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if replicated and channels != 1:
            raise ValueError(f"channels is {channels}; a replicated network takes 1")
        self.settings = {
            "channels": channels, "alpha": alpha, "hidden": hidden, "latents": latents, "replicated": replicated, "spread": spread,
        }  # fmt: skip
        self.channels, self.replicated = channels, replicated
        self.gamma = decoder_deviation(channels, alpha)
        for name, module in self._build(hidden, latents).named_children():
            self.add_module(name, _density_of(module) if name == "entropy_bottleneck" else module)
        if not replicated and channels != 3:
            _open_to(self.g_a, channels, "in")
            _open_to(self.g_s, channels, "out")
        self.std_decoder = self._spread_decoder() if spread else None

    def _spread_decoder(self) -> nn.Module:
        """A decoder like ``g_s`` whose output starts as `gamma` everywhere."""
        decoder: nn.Module = copy.deepcopy(self.g_s)
        last = [m for m in decoder.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))][-1]
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(self.gamma / (1 - self.gamma)))  # type: ignore[arg-type]
        return decoder

    def _build(self, hidden: int, latents: int) -> nn.Module:
        """The model of compressai whose modules are taken over."""
        return self.source(hidden, latents)

    def encode(self, x: Tensor) -> Latents:
        """Latents of images ``(B, C, H, W)``, noise-free."""
        z = self.g_a(x.expand(-1, 3, -1, -1) if self.replicated else x)
        return Latents(z.to(x.dtype), self._hyper(z).to(x.dtype))

    def _hyper(self, z: Tensor) -> Tensor:
        h: Tensor = self.h_a(z)
        return h

    def _image(self, network: nn.Module, z: Tensor) -> Tensor:
        x: Tensor = network(z)
        return x.mean(1, keepdim=True) if self.replicated else x

    def decode(self, z: Tensor) -> Tensor:
        """Mean of p(x | z)."""
        return self._image(self.g_s, z)

    def decode_std(self, z: Tensor) -> Tensor:
        """Standard deviation of p(x | z): logistic of the second decoder plus 2e-4 (VBLE-xz), or `gamma` without one.

        Three deviations of a replicated network are averaged, as its authors do.
        """
        if self.std_decoder is None:
            return z.new_full((len(z), self.channels, z.shape[2] * self.stride, z.shape[3] * self.stride), self.gamma)
        deviations = torch.sigmoid(self.std_decoder(z).to(z.dtype)) + SPREAD_FLOOR
        return deviations.mean(1, keepdim=True) if self.replicated else deviations

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """``log p(z | h) + log p(h)`` of each item, nats."""
        mean, scale = self.conditional(z, h)
        return log_uniform_gaussian(z, mean, scale).sum((1, 2, 3)) + log_bottleneck(self.entropy_bottleneck, h).sum((1, 2, 3))

    def conditional(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale, at least 0.11, of p(z | h), or of p(z | h, causal z) with a context model."""
        scale, mean = self._scales_means(z, h).to(z.dtype).chunk(2, 1)
        return mean, bounded(scale, SCALE_BOUND, reach=SCALE_REACH)

    def _scales_means(self, z: Tensor, h: Tensor) -> Tensor:
        """Scales, then means."""
        del z
        parameters: Tensor = self.h_s(h)
        return parameters


class MeanScaleAutoencoder(PublishedAutoencoder):
    """Mean-scale hyperprior: compressai's ``MeanScaleHyperprior`` (Minnen, Balle and Toderici 2018)."""

    source = MeanScaleHyperprior


class JointAutoencoder(PublishedAutoencoder):
    """Hyperprior and context model: compressai's ``JointAutoregressiveHierarchicalPriors`` (Minnen, Balle and Toderici 2018).

    As nothing is entropy-coded, the masked convolution sees the latents themselves, in one parallel pass.
    """

    source = JointAutoregressiveHierarchicalPriors

    @property
    def causal_groups(self) -> list[int]:  # type: ignore[override]
        """All latents in one group."""
        return [0] * int(self.settings["latents"])

    def _scales_means(self, z: Tensor, h: Tensor) -> Tensor:
        # compressai's masked convolution overwrites its weights at each call, which autograd and threads may not like.
        context = self.context_prediction
        causal = nn.functional.conv2d(z, context.weight * context.mask, context.bias, padding=context.padding)
        parameters: Tensor = self.entropy_parameters(torch.cat([self.h_s(h), causal], 1))
        return parameters


class ChengAutoencoder(JointAutoencoder):
    """Residual blocks with attention: compressai's ``Cheng2020Attention`` (Cheng, Sun, Takeuchi and Katto 2020); M equals N."""

    source = Cheng2020Attention

    def _build(self, hidden: int, latents: int) -> nn.Module:
        if latents != hidden:
            raise ValueError(f"latents is {latents} and hidden {hidden}; this family has as many of one as of the other")
        model: nn.Module = self.source(hidden)
        return model


class FactorizedAutoencoder(PublishedAutoencoder):
    """Factorised density without hyper-latent: compressai's ``FactorizedPrior`` (Balle et al. 2018); `h` has no channels."""

    source, hyper_stride = FactorizedPrior, 16

    def _hyper(self, z: Tensor) -> Tensor:
        return z.new_zeros(len(z), 0, *z.shape[2:])

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """``log p(z)`` of each item, nats."""
        del h
        return log_bottleneck(self.entropy_bottleneck, z).sum((1, 2, 3))

    def conditional(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Not Gaussian in this family; see the base class."""
        return LatentPrior.conditional(self, z, h)

    def precision(self, z: Tensor, h: Tensor) -> Tensor:
        """Second derivative of ``-log p(z)``, at least 1e-3; exact, as the density is a product."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            slope = torch.autograd.grad(-self.log_prob(z, h).sum(), z, create_graph=True)[0]
            second: Tensor = torch.autograd.grad(slope.sum(), z)[0]
        return second.clamp(min=1e-3)
