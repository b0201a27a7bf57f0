"""The fitted posterior: moments and samples, nothing that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.draws import antithetic, normal, position_key
from imaging.filters import binomial_taps, filtered
from imaging.moments import Moments, Posterior
from imaging.posterior.families import Dirac, Family
from imaging.posterior.settings import decoding
from imaging.priors.base import LatentPrior

_FIRST_SAMPLE = 2_000_000  # draws of samples never repeat those of the fit


class _Pairs:
    """Running mean and variance of images drawn in antithetic pairs.

    Half the difference of a pair is the part odd in the noise, whose mean is zero; half the sum is the even part. Mirrored images are not
    independent: the usual variance of all of them would be too large by up to 1 / (2 pairs - 1).
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


class Frame(NamedTuple):
    """Pixels of the decoded canvas outside the scene: top, left, bottom, right."""

    top: int
    left: int
    bottom: int
    right: int

    def crop(self, x: Tensor, block: int = 1) -> Tensor:
        """The scene's part of a canvas ``(B, C, H, W)``, or of one whose pixels are means over blocks that fit into the frame."""
        rows, columns = block * x.shape[-2] - self.bottom, block * x.shape[-1] - self.right
        return x[..., self.top // block : rows // block, self.left // block : columns // block]


class Variances(NamedTuple):
    """Mean, and what its variance is the sum of, ``(B, C, H, W)`` or of means over blocks.

    The variances are those of the decoded latents, of the image given them, and between the parts of a mixture.
    """

    mean: Tensor
    latents: Tensor
    image: Tensor
    between: Tensor

    def moments(self) -> Moments:
        """Mean and standard deviation."""
        return Moments(self.mean, (self.latents + self.image + self.between).sqrt().float())


def _blocks(x: Tensor, block: int) -> Tensor:
    """Means over blocks of pixels; rows and columns that fill no block are left out."""
    return x if block == 1 else F.avg_pool2d(x, block)


def pooled(variance: Tensor) -> Tensor:
    """A sampled variance averaged over the nearest pixels, with binomial weights 5 x 5: less noise, and hardly less resolution."""
    return filtered(variance, binomial_taps(variance))


@dataclass(frozen=True)
class LatentPosterior(Posterior):
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

    def _latent_draw(self, index: int) -> Tensor:
        """Latents of sample ``index``; an odd sample mirrors the even one before it (antithetic)."""
        centre = self.family.centre
        key = position_key(centre.shape, self.origins, self.seed, "z", centre.device)
        return self.family.draw(antithetic(key, _FIRST_SAMPLE + index, centre.dtype))

    def _decoded(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Image in scene units that latents decode to, and the variance of p(x | z), None without an image-space part."""
        with decoding(z, self.precision):
            if self.information is None:
                return self.frame.crop(self.prior.decode(z)) / self.rate_scale, None
            mean, std = (self.frame.crop(x) / self.rate_scale for x in self.prior.decode_with_std(z))
            return mean, std.square()

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

    def moments(self, samples: int = 32, block: int = 1) -> Moments:
        """Mean and standard deviation of pixels, or of means over blocks, see `variances`."""
        return self.variances(samples, block).moments()

    @torch.no_grad()
    def variances(self, samples: int = 32, block: int = 1) -> Variances:
        """Mean and variances from antithetic latent samples; that of the image-space part is known in closed form.

        Var[x] = Var_z[g(z)] + E_z[b^2 sigma_theta(z)^2], which needs far fewer samples than drawing x. Var_z is a ratio estimate: the exact
        variance of the decoder's linear part, times what the same draws say of the whole decoder over its linear part, both averaged over
        the nearest pixels. It has the noise of some hundred samples; a difference in place of the ratio would be worse than none, as in
        flat parts the decoder takes most of the linear part's variance away.

        Parameters
        ----------
        samples : int
            Rounded up to whole pairs; a point needs one pair only, whatever is asked for.
        block : int
            Side of blocks of pixels, from the scene's first one on, whose means are asked for instead: errors of neighbours hang together,
            so that the deviation of a mean is not that of a pixel divided by ``block``. Rows and columns that fill no block are left out.
        """
        pairs = 1 if isinstance(self.family, Dirac) else -(-samples // 2)
        total, linear, image = _Pairs(), _Pairs(), torch.zeros(())
        exact = self._linear_variance(block)
        for k in range(pairs):
            draws = [self._latent_draw(2 * k + i) for i in range(2)]
            decoded = [self._decoded(z) for z in draws]
            total.add(*(_blocks(mean, block) for mean, _ in decoded))
            for _, variance in decoded:
                if variance is not None:
                    part = _blocks((self.image_factor(variance).square() * variance).float(), block)
                    image = image + part / (2 * pairs * block**2)
            if exact is not None:
                linear.add(*(self._moved(z - self.family.centre, block) for z in draws))
        spread = pooled(total.variance())
        if exact is not None:
            spread = exact * spread / pooled(linear.variance()).clamp(min=torch.finfo(spread.dtype).tiny)
        return Variances(total.mean, spread, image.expand_as(spread), torch.zeros_like(spread))

    def _moved(self, away: Tensor, block: int) -> Tensor:
        """Image, or its means over blocks, that latents so far from the centre add through the linear part of the decoder."""
        return _blocks(self.frame.crop(cast(Tensor, self.prior.linear(away))) / self.rate_scale, block).float()

    def _linear_variance(self, block: int) -> Tensor | None:
        """Exact variance of the decoder's linear part, or of its means over blocks; None where that is not known."""
        if self.frame.top % block or self.frame.left % block:  # no block of the canvas begins where the scene does
            return None
        found = self.prior.linear_variance(self.family.variance(), block)
        return None if found is None else (self.frame.crop(found, block) / self.rate_scale.square()).float()

    @torch.no_grad()
    def sample(self, n: int, first: int = 0) -> Tensor:
        """Posterior samples ``(n, B, C, H, W)``, decoded latents plus the image-space part; the same for an index, seed and position."""
        drawn = []
        row = [(r * self.prior.stride + self.frame.top, c * self.prior.stride + self.frame.left) for r, c in self.origins]
        keys: Tensor | None = None
        for k in range(first, first + n):
            x, variance = self._decoded(self._latent_draw(2 * k))
            if variance is not None:
                keys = position_key(x.shape, row, self.seed, "x", x.device) if keys is None else keys
                x = x + self.image_factor(variance) * variance.sqrt() * normal(keys, k)
            drawn.append(x.float())
        return torch.stack(drawn)
