"""What was measured of a prior's posteriors on validation scenes, and how a recipe says it."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.releases import Table


class Calibration(NamedTuple):
    """Factors on the variance of a posterior, measured on validation scenes; the default is the variational posterior itself.

    Independent densities of the latents are right neither about single pixels nor about means over many of them: the factor on a latent's
    variance depends on its spatial frequency, geometrically from ``latent`` at zero to ``latent_high`` at Nyquist, both at rate scale 1.
    Latents without a frequency get the geometric mean of both. The factors go with the power ``exponent`` of the rate scale. And a prior
    that has mostly seen smooth scenes promises too much where a scene is sharp: the factor at Nyquist goes with the power ``sharpness`` of
    the restored scene's sharpness around the latent, see `imaging.posterior.sharpness`. ``image`` is the factor on the variance of the
    image-space part.
    """

    latent: float = 1.0
    latent_high: float = 1.0
    image: float = 1.0
    exponent: float = 0.0
    sharpness: float = 0.0

    def factors(self, scale: Tensor, squared_frequency: Tensor | None = None, sharpness: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Factors on the variances of the latents, ``(B, M, h, w)``, and of the image-space part, of the shape of ``scale``.

        ``scale`` is the rate scale, ``(B, 1, 1, 1)``; ``squared_frequency``, ``(M,)``, is that of each latent over that of Nyquist, see
        `LatentPrior.squared_frequency`; ``sharpness``, ``(B, 1, h, w)``, is that of the scene around the latents, without it the typical
        one, 1. Sizes of the result are 1 for what was not given.
        """
        place = torch.full((1,), 0.5) if squared_frequency is None else squared_frequency.sqrt().clamp(max=1)
        place = place.to(scale)[None, :, None, None]
        latent = self.latent ** (1 - place) * self.latent_high**place * scale**self.exponent
        if sharpness is not None and self.sharpness:
            latent = latent * sharpness ** (self.sharpness * place)
        return latent, torch.full_like(scale, self.image)


class Guarantee(NamedTuple):
    """Intervals by conformal risk control with the scene as the exchangeable unit (Angelopoulos et al., ICLR 2024).

    Of a new scene of the kind of the calibration scenes, at least the level's share of the pixels is expected to lie within the level's
    half-width, in calibrated standard deviations, of the posterior mean: a statement about scenes on average, for any distribution of the
    errors, that takes the number of calibration scenes into account. ``half_widths`` has them by level, such as 0.9.
    """

    scenes: int
    half_widths: dict[float, float]


def read_calibration(recipe: Table) -> Calibration:
    """Variance factors from a recipe's ``[calibration]`` table, those that change nothing without one; `InputError` for what is none."""
    table = recipe.under("calibration")
    low = table.number("latent_variance", 1.0, 0, 100)
    high, image = table.number("latent_variance_high", low, 0, 100), table.number("image_variance", 1.0, 0, 100)
    return Calibration(low, high, image, *(table.number(k, 0.0, -3, 3) for k in ("latent_exponent", "sharpness_exponent")))


def read_guarantee(recipe: Table) -> Guarantee | None:
    """Half-widths from a recipe's ``[conformal]`` table (``scenes``, ``level_90`` and so on); None without one, `InputError` for others."""
    if "conformal" not in recipe.values:
        return None
    table = recipe.under("conformal")
    levels = [k for k in table.values if re.fullmatch(r"level_[1-9]\d?(_\d+)?", k)]
    widths = {float(k[6:].replace("_", ".")) / 100: table.number(k, 0.0, 0, math.inf) for k in levels}
    return Guarantee(int(table.number("scenes", 0, 1, 1e9)), widths)
