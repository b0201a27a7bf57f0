"""What was measured of a prior's posteriors on calibration scenes, and how a recipe says it."""

from __future__ import annotations

import math
import re
from reprlib import repr as short
from typing import NamedTuple

from imaging.errors import InputError
from imaging.releases import Table


class Guarantee(NamedTuple):
    """Intervals by conformal risk control with the scene as the exchangeable unit (Angelopoulos et al., ICLR 2024).

    Of a new scene of the kind of the calibration scenes, at least the level's share of the pixels is expected to lie within the level's
    half-width, in calibrated standard deviations, of the posterior mean: a statement about scenes on average, for any distribution of the
    errors, that takes the number of calibration scenes into account. ``half_widths`` has them by level, such as 0.9.
    """

    scenes: int
    half_widths: dict[float, float]


def read_latent_variance(recipe: Table) -> float:
    """The factor in a recipe's ``[calibration]`` table, 1 without one; `InputError` for what is none, and for former versions' factors."""
    table = recipe.under("calibration")
    former = sorted(set(table.values) - {"latent_variance"})
    if former:
        named = ", ".join(map(short, former[:5]))
        raise InputError(
            f"{recipe.source}: [calibration] has {named}; accepted is latent_variance, one factor for all scenes: leave the others out, or "
            "measure it by scripts/release/prior.py"
        )
    return table.number("latent_variance", 1.0, 1e-3, 100)


def read_guarantee(recipe: Table) -> Guarantee | None:
    """Half-widths from a recipe's ``[conformal]`` table (``scenes``, ``level_90`` and so on); None without one, `InputError` for others."""
    if "conformal" not in recipe.values:
        return None
    table = recipe.under("conformal")
    levels = [k for k in table.values if re.fullmatch(r"level_[1-9]\d?(_\d+)?", k)]
    widths = {float(k[6:].replace("_", ".")) / 100: table.number(k, 0.0, 0, math.inf) for k in levels}
    return Guarantee(int(table.number("scenes", 0, 1, 1e9)), widths)
