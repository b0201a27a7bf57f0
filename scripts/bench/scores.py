"""Figures of one restoration against the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imaging.metrics import coverage, crps, interval_width, psnr, ssim
from imaging.moments import Moments
from scripts.scenes import Array
from scripts.sensors import Trial

BLOCKS = (4, 16, 64)
Estimate = Callable[..., Moments]
"""Means and deviations of pixels, or of means over ``block`` x ``block`` pixels: a posterior's `moments`."""


def figures(mean: Array, truth: Array, std: Array | None = None) -> dict[str, float]:
    """Of images ``(C, H, W)`` in [0, 1], and of deviations where there are some: the scores of pixels."""
    likeness = float(np.mean([ssim(a, b, 1.0) for a, b in zip(mean, truth, strict=True)]))
    found = {"psnr": psnr(mean, truth, 1.0), "ssim": likeness}
    if std is not None:
        found |= {f"coverage_{100 * level:.0f}": coverage(mean, std, truth, level) for level in (0.90, 0.95)}
        found |= {"width": interval_width(std, 0.95), "crps": crps(mean, std, truth)}
        found["correlation"] = float(np.corrcoef(np.abs(mean - truth).ravel(), std.ravel())[0, 1])
    return found


def of_posterior(t: Trial, moments: Estimate, margin: int) -> dict[str, float]:
    """Of a posterior with a margin around the measurement; with coverages of means over blocks by 95 % intervals, and their numbers."""
    mean, std = (t.scored(v, margin) for v in moments())
    found = figures(mean, t.wanted(margin), std)
    for block in BLOCKS:
        means, wide = (t.scored(v, margin, block) for v in moments(block=block))
        if means.size:
            found |= {f"block_{block}": coverage(means, wide, t.wanted(margin, block), 0.95), f"count_{block}": means.size}
    return found
