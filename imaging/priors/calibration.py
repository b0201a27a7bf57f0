"""What was measured of a prior's posteriors on validation scenes, and how a recipe says it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imaging.errors import InputError


class Calibration(NamedTuple):
    """Factors on the variance of a posterior, measured on validation scenes; the default is the variational posterior itself.

    Independent densities of the latents are right neither about single pixels nor about means over many of them: the factor on a latent's
    variance depends on its spatial frequency, geometrically between two values. And a prior that has mostly seen smooth scenes promises too
    much where a scene is sharp: the factor of high frequencies goes with a power of the restored scene's sharpness.

    Attributes
    ----------
    latent, latent_high : float
        On the variance of the latents of frequency zero and of Nyquist, at rate scale 1. Latents without a frequency get the mean of their
        logarithms.
    image : float
        On the variance of the image-space part.
    exponent : float
        The latents' factors go with this power of the rate scale.
    sharpness : float
        The factor at Nyquist goes with this power of the scene's sharpness around the latent, see `imaging.posterior.sharpness`.
    """

    latent: float = 1.0
    latent_high: float = 1.0
    image: float = 1.0
    exponent: float = 0.0
    sharpness: float = 0.0

    def factors(self, scale: Tensor, squared_frequency: Tensor | None = None, sharpness: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Factors on the variances of latents and of the image-space part.

        Parameters
        ----------
        scale : Tensor
            ``(B, 1, 1, 1)`` rate scale.
        squared_frequency : Tensor, optional
            ``(M,)`` of each latent over that of Nyquist, see `LatentPrior.squared_frequency`.
        sharpness : Tensor, optional
            ``(B, 1, h, w)`` of the scene around the latents; without it the typical one, 1, is assumed.

        Returns
        -------
        latent, image : Tensor
            ``(B, M, h, w)``, with sizes of 1 for what was not given, and of the shape of ``scale``.
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
    half-width, in calibrated standard deviations, of the posterior mean: a statement about scenes on average, for any distribution of
    the errors, that takes the number of calibration scenes into account.

    Attributes
    ----------
    scenes : int
        Calibration scenes.
    half_widths : dict
        From levels, such as 0.9, to standard deviations.
    """

    scenes: int
    half_widths: dict[float, float]


def _number(table: Any, key: str, default: float, least: float, limit: float, source: Path, name: str) -> float:
    value = table.get(key, default) if isinstance(table, dict) else table
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < limit:
        raise InputError(f"{source}/recipe.toml: [{name}] has {value!r}; accepted are numbers from {least} below {limit}")
    return float(value)


def read_calibration(recipe: dict[str, Any], folder: Path) -> Calibration:
    """Variance factors from a recipe's ``[calibration]`` table, those that change nothing without one.

    Raises
    ------
    InputError
        For what is no factor.
    """
    table = recipe.get("calibration", {})
    low = _number(table, "latent_variance", 1.0, 0, 100, folder, "calibration")
    keys = (
        ("latent_variance_high", low, 0, 100),
        ("image_variance", 1.0, 0, 100),
        ("latent_exponent", 0.0, -3, 3),
        ("sharpness_exponent", 0.0, -3, 3),
    )
    return Calibration(low, *(_number(table, *k, folder, "calibration") for k in keys))


def read_guarantee(recipe: dict[str, Any], folder: Path) -> Guarantee | None:
    """Half-widths from a recipe's ``[conformal]`` table (``scenes``, ``level_90`` and so on); None without one.

    Raises
    ------
    InputError
        For what is no half-width.
    """
    table = recipe.get("conformal")
    if table is None:
        return None
    scenes = int(_number(table, "scenes", 0, 1, 1e9, folder, "conformal"))
    levels = [k for k in table if re.fullmatch(r"level_[1-9]\d?(_\d+)?", k)]
    widths = {float(k[6:].replace("_", ".")) / 100: _number(table, k, 0.0, 0, float("inf"), folder, "conformal") for k in levels}
    return Guarantee(scenes, widths)
