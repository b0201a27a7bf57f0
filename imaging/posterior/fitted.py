"""The fitted posterior: moments and samples, nothing that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.posterior.draws import antithetic, normal, position_key
from imaging.posterior.families import Dirac, Family
from imaging.posterior.precision import decoding
from imaging.priors.base import LatentPrior

_FIRST_SAMPLE = 2_000_000  # draws of samples never repeat those of the fit


class _Pairs:
    """Running mean and variance of images drawn in antithetic pairs.

    Half the difference of a pair is the part odd in the noise, whose mean is zero; half the sum is the even part. As mirrored images are
    no independent draws, the usual variance of all of them would be too large by up to 1 / (2 pairs - 1).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.odd = self.even = torch.zeros(())

    def add(self, first: Tensor, second: Tensor) -> None:
        """Take one more pair."""
        self.count += 1
        first, second = first.float(), second.float()
        self.odd = self.odd + (((first - second) / 2).square() - self.odd) / self.count
        middle = (first + second) / 2
        delta = middle - self.mean
        self.mean = self.mean + delta / self.count
        self.even = self.even + delta * (middle - self.mean)

    def variance(self) -> Tensor:
        """Unbiased variance of one image; of its odd part only for a single pair."""
        return self.odd + self.even / max(1, self.count - 1)


class Moments(NamedTuple):
    """Posterior mean and standard deviation of each pixel, ``(B, C, H, W)``, in image units."""

    mean: Tensor
    std: Tensor


class Frame(NamedTuple):
    """Pixels of the decoded canvas outside the scene: top, left, bottom, right."""

    top: int
    left: int
    bottom: int
    right: int

    def crop(self, x: Tensor) -> Tensor:
        """The scene's part of a canvas ``(B, C, H, W)``."""
        return x[..., self.top : x.shape[-2] - self.bottom, self.left : x.shape[-1] - self.right]


@dataclass(frozen=True)
class LatentPosterior:
    r"""Posterior of a batch of scenes, :math:`q(z)\,q(x\mid z)`.

    Attributes
    ----------
    prior : LatentPrior
        Decodes latents.
    family : Uniform or Dirac
        Density of the main latents.
    rate_scale : Tensor
        ``(B, 1, 1, 1)``; the prior works on the scene times this.
    information : Tensor or None
        ``(B, C, H, W)`` diagonal of A^T Sigma^-1 A in the scene frame; None leaves the image-space part out (VBLE, not VBLE-xz).
    weight : float
        Weight of the Kullback-Leibler term in the fit.
    frame : Frame
        Scene within the canvas.
    origins : list of (int, int)
        Absolute latent row and column of each item.
    seed : int
        Of the samples.
    objective : Tensor
        ``(steps, B)`` objective during the fit, nats per scene pixel.
    precision : str
        See `FitSettings`.
    calibration : tuple of Tensor or float
        Factors on the variance of the latent and of the image-space part, each a number or ``(B, 1, 1, 1)``; (1, 1) is the variational
        posterior itself.
    """

    prior: LatentPrior
    family: Family
    rate_scale: Tensor
    information: Tensor | None
    weight: float
    frame: Frame
    origins: list[tuple[int, int]]
    seed: int
    objective: Tensor
    precision: str
    calibration: tuple[Tensor | float, Tensor | float] = (1.0, 1.0)

    def _latent_draw(self, index: int) -> Tensor:
        """Latents of sample ``index``; an odd sample mirrors the even one before it (antithetic)."""
        centre = self.family.centre
        key = position_key(centre.shape, self.origins, self.seed, "z", centre.device)
        return self.family.draw(antithetic(key, _FIRST_SAMPLE + index, centre.dtype))

    def _decode(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Decoder mean in scene units and, for the image-space part, its variance."""
        with decoding(z, self.precision):
            mean = self.frame.crop(self.prior.decode(z)) / self.rate_scale
            if self.information is None:
                return mean, None
            return mean, (self.frame.crop(self.prior.decode_std(z)) / self.rate_scale).square()

    def image_factor(self, decoder_variance: Tensor) -> Tensor:
        r"""Optimal factor of the decoder's standard deviation given the measurement.

        .. math:: b^2 = \lambda / (\lambda + \sigma_\theta(z)^2\, g)

        with ``g`` the `information`: the minimiser of the VBLE-xz objective in closed form, 1 where nothing was measured. It follows the
        latents, so that moments and samples are those of one density; a factor common to all z has the same form with
        :math:`E_z[\sigma_\theta^2]` and a larger objective.
        """
        if self.information is None:
            raise ValueError("this posterior has no image-space part")
        return torch.sqrt(self.weight / (self.weight + decoder_variance * self.information))

    @torch.no_grad()
    def moments(self, samples: int = 32) -> Moments:
        """Mean and standard deviation from antithetic latent samples; the image-space variance is added in closed form.

        Var[x] = Var_z[g(z)] + E_z[b^2 sigma_theta(z)^2], which needs far fewer samples than drawing x. Where the decoder has a linear
        part, that part's sampled variance is replaced by its exact value (a control variate), so that few samples suffice.

        Parameters
        ----------
        samples : int
            Rounded up to whole pairs; a point needs one pair only, whatever is asked for.
        """
        pairs = 1 if isinstance(self.family, Dirac) else -(-samples // 2)
        total, linear, image = _Pairs(), _Pairs(), torch.zeros(())
        for k in range(pairs):
            draws = [self._latent_draw(2 * k + i) for i in range(2)]
            decoded = [self._decode(z) for z in draws]
            total.add(decoded[0][0], decoded[1][0])
            for _, variance in decoded:
                if variance is not None:
                    image = image + (self.image_factor(variance).square() * variance).float() / (2 * pairs)
            parts = [self.prior.linear(z - self.family.centre) for z in draws]
            if parts[0] is not None and parts[1] is not None:
                linear.add(self.frame.crop(parts[0]) / self.rate_scale, self.frame.crop(parts[1]) / self.rate_scale)
        spread = total.variance()
        exact = self.prior.linear_variance(self.family.variance())
        if exact is not None:
            exact = (self.frame.crop(exact) / self.rate_scale.square()).float()
            spread = torch.maximum(exact + spread - linear.variance(), 0.25 * exact)
        latent_factor, image_factor = self.calibration
        return Moments(total.mean, (latent_factor * spread + image_factor * image).sqrt().float())

    def mean(self, samples: int = 32) -> Tensor:
        """Posterior mean ``(B, C, H, W)``."""
        return self.moments(samples).mean

    def std(self, samples: int = 32) -> Tensor:
        """Posterior standard deviation ``(B, C, H, W)``."""
        return self.moments(samples).std

    @torch.no_grad()
    def sample(self, n: int, first: int = 0) -> Tensor:
        """Posterior samples, ``(n, B, C, H, W)``; sample ``first + k`` is always the same for the same seed and position."""
        drawn = []
        for k in range(first, first + n):
            centre = self.family.centre
            x, variance = self._decode(centre + self.calibration[0] ** 0.5 * (self._latent_draw(2 * k) - centre))
            if variance is not None:
                variance, factor = self.calibration[1] * variance, self.image_factor(variance)
                row = [(r * self.prior.stride + self.frame.top, c * self.prior.stride + self.frame.left) for r, c in self.origins]
                noise = normal(position_key(x.shape, row, self.seed, "x", x.device), k)
                x = x + factor * variance.sqrt() * noise
            drawn.append(x.float())
        return torch.stack(drawn)
