"""What every latent prior offers to the rest of the toolkit."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imaging.priors.calibration import Guarantee


class Latents(NamedTuple):
    """Main and hyper latent variables of a batch of images.

    Attributes
    ----------
    z : Tensor
        ``(B, M, H / stride, W / stride)`` main latents, in units of the quantisation step.
    h : Tensor
        ``(B, N, H / hyper_stride, W / hyper_stride)`` hyper-latents, same unit.
    """

    z: Tensor
    h: Tensor


class LatentPrior(nn.Module, ABC):
    r"""Density over images given by latent variables: :math:`p(h)\,p(z\mid h)\,p(x\mid z)`.

    Images are ``(B, C, H, W)``, nominally in [0, 1], with ``H`` and ``W`` multiples of ``hyper_stride``. Within ``border`` pixels of the
    edge the decoder is incomplete and its output is to be discarded. Latents are continuous: a unit uniform variable around each stands
    for its quantisation.
    """

    channels: int
    """Image channels."""
    stride: int
    """Image pixels per main latent position, along each axis."""
    hyper_stride: int
    """Image pixels per hyper-latent position, along each axis."""
    border: int
    """Outer pixels of a decoded image that are to be discarded."""
    gamma: float
    """Standard deviation of the decoder's error at the rate the prior was trained for, in image units."""

    settings: dict[str, Any]
    """Arguments that make the same model again; the recipe's ``[model]`` table."""
    std_decoder: nn.Module | None
    """What `decode_std` learns with; None for a constant deviation."""

    density: str = "uniform"
    """Of the encoder's posterior: "uniform", of unit width, or "gaussian"."""
    causal_groups: list[int] | None = None
    """Group of each main latent channel, in the order in which `conditional` sees them; None without a context model."""
    bands: tuple[str, ...] = ()
    """Common names of the channels, in their order; empty for a prior of one band, whatever it is, or of unnamed ones."""
    latent_variance: float = 1.0
    """Factor on the variance of fitted latents, the same for all scenes; from calibration scenes."""
    guarantee: Guarantee | None = None
    """Half-widths of intervals with a finite-sample guarantee, measured with that factor."""

    @abstractmethod
    def encode(self, x: Tensor) -> Latents:
        """Latents of images, without noise or rounding."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Mean of p(x | z), ``(B, C, H, W)``."""

    @abstractmethod
    def decode_std(self, z: Tensor) -> Tensor:
        """Standard deviation of p(x | z), ``(B, C, H, W)``, positive."""

    def decode_with_std(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`decode` and `decode_std` at once, for less than both where they share work."""
        return self.decode(z), self.decode_std(z)

    @abstractmethod
    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """``log p(z | h) + log p(h)`` of each item, ``(B,)``, nats; both densities are convolved with a unit uniform."""

    def conditional(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of the Gaussian that p(z | h) or p(z | h, causal z) is, before its convolution with a unit uniform.

        Raises
        ------
        NotImplementedError
            In a family where it is none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no Gaussian p(z | h)")

    def precision(self, z: Tensor, h: Tensor) -> Tensor:
        """Second derivative of ``-log p(z | h)`` along each main latent, roughly, of the shape of ``z``; scales the steps of a fit.

        That of a Gaussian of the same variance where `conditional` is known, otherwise that of a standard normal density.
        """
        try:
            _, scale = self.conditional(z, h)
        except NotImplementedError:
            return torch.ones_like(z)
        return 1 / (scale.square() + 1 / 12)

    def perturb(self, x: Tensor, widths: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Latents drawn from the encoder's posterior, and their cost.

        Parameters
        ----------
        x : Tensor
            ``(B, C, H, W)`` images.
        widths : Tensor or float
            Of the uniform density of each main latent, broadcastable to ``z``; 1 stands for quantisation. The entropy of narrower
            densities, which no weight can change, is left out of the cost.

        Returns
        -------
        z : Tensor
            Main latents.
        cost : Tensor
            ``(B,)`` nats.
        """
        latents = self.encode(x)
        z = latents.z + widths * (torch.rand_like(latents.z) - 0.5)
        h = latents.h + torch.rand_like(latents.h) - 0.5
        return z, -self.log_prob(z, h)

    def objective(self, error: Tensor, bits: Tensor) -> Tensor:
        """Training objective, bits per pixel, from the mean squared error and the bits per pixel of one pass."""
        return float(self.settings["alpha"]) * 255**2 * error + bits

    def set_statistics(self, x: Tensor) -> None:
        """Take from training images ``(B, C, H, W)`` what the model wants to know before its training; nothing by default."""
        del x

    def slow_parameters(self) -> list[nn.Parameter]:
        """Weights that a training changes at a tenth of its learning rate; none by default."""
        return []

    def squared_frequency(self) -> Tensor | None:
        """Squared spatial frequency of each latent channel over that of Nyquist, ``(M,)``; None where latents have none."""
        return None

    def linear(self, z: Tensor) -> Tensor | None:
        """Linear part of `decode`, ``(B, C, H, W)``; None for a decoder without one."""
        return None

    def linear_variance(self, variance: Tensor, block: int = 1) -> Tensor | None:
        """Variance of the linear part of each pixel for independent latents of the given variances, in closed form.

        With a ``block``, of means over blocks of that many pixels along each side, ``(B, C, H / block, W / block)``; None where that is
        not known.
        """
        return None

    @torch.no_grad()
    def receptive_field(self, size: int = 256) -> int:
        """Reach of one latent in the decoded image, in pixels on each side, measured by perturbing it.

        Parameters
        ----------
        size : int
            Side of the test image; the reach is at most half of it.
        """
        model = copy.deepcopy(self).eval().double().cpu()  # the outermost response is below the resolution of float32
        x = torch.rand(1, self.channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        z = model.encode(x).z
        middle = z.shape[-1] // 2
        changed = z.clone()
        changed[..., middle, middle] += 1.0
        difference = (model.decode(changed) - model.decode(z)).abs().amax((0, 1))
        reached = torch.nonzero(difference > 1e-12 * difference.max())
        first = middle * self.stride
        return int(torch.maximum(first - reached, reached - (first + self.stride - 1)).max())
