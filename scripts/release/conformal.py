"""Intervals with a finite-sample guarantee, by conformal risk control (Angelopoulos et al., ICLR 2024).

The scene is the exchangeable unit. The half-width, in standard deviations, is the least for which the mean share of missed pixels over n
scenes, times n / (n + 1), plus 1 / (n + 1), is at most 1 - level. The expected share of missed pixels of a new scene of the same kind is
then at most 1 - level, whatever the errors' distribution.
"""

from __future__ import annotations

import numpy as np

from scripts.scenes import Array

LEVELS = (0.90, 0.95)
WIDTHS = np.arange(0.5, 12, 0.02).round(2)


def covered(scores: Array, widths: Array | float) -> Array:
    """Shares of ascending errors over their deviations that are within half-widths."""
    return np.asarray(np.searchsorted(scores, widths, side="right") / len(scores))


def half_width(missed: Array, level: float) -> tuple[float, float]:
    """Half-width for shares ``(n, len(WIDTHS))`` of missed pixels of n scenes, and their coverage at it; infinite where n is too small."""
    held = (missed.sum(0) + 1) / (len(missed) + 1) <= 1 - level
    return (float(WIDTHS[held][0]), float(1 - missed.mean(0)[held][0])) if held.any() else (float("inf"), 1.0)


def recipe_lines(missed: Array, script: str) -> list[str]:
    """The recipe's table."""
    lines = [f"[conformal]    # half-widths in standard deviations, by {script}", f"scenes = {len(missed)}"]
    for level in LEVELS:
        width, met = half_width(missed, level)
        said = f"level_{100 * level:.0f} = {width}    # covers {met:.3f} here; of a new scene's pixels at least {level} are expected"
        lines.append(said if np.isfinite(width) else f"# too few scenes for {level}")
    return lines
