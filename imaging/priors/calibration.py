"""What was measured of a prior's posteriors on validation scenes, and how a recipe says it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imaging.errors import InputError


class Calibration(NamedTuple):
    """Factors on the variance of a posterior, measured on validation scenes; (1, 1, 0) is the variational posterior itself.

    Attributes
    ----------
    latent : float
        On the variance of the latent part, at rate scale 1.
    image : float
        On the variance of the image-space part.
    exponent : float
        The latent factor goes with this power of the rate scale.
    """

    latent: float = 1.0
    image: float = 1.0
    exponent: float = 0.0

    def factors(self, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Factors on the latent and on the image-space variance at each rate scale, of its shape."""
        return self.latent * scale**self.exponent, torch.full_like(scale, self.image)


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
    keys = (("latent_variance", 1.0, 0, 100), ("image_variance", 1.0, 0, 100), ("latent_exponent", 0.0, -3, 3))
    return Calibration(*(_number(table, *k, folder, "calibration") for k in keys))


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
