"""What a network is told of a bundle: Gaussian posteriors and measurements as images on the sharp grid, in units of what is left to do."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.filters import box_mean, filled_holes
from imaging.fusion.gaussian import CONTRASTS, CrossBandGaussian, present
from imaging.sensors.noise import noise_variance
from imaging.sensors.wiener import modulation, repeated, weight_at

SHOWN = (1, 3, 4, 5)
"""Posteriors of the bank that the network sees by themselves."""
_MEAN = 3
"""Side of the square whose mean is taken off, coarse pixels."""
IMAGES, MAPS = 10, 12
"""Channels for each band that are images in units of the expected error, and smooth maps of what is known of scene and sensor."""


class BundleFeatures(NamedTuple):
    """A bundle as a network sees it, its coarse bands on the sharp grid.

    ``estimate`` is the Gaussian posterior's mean, ``(B, M, H, W)`` in image units, and ``unit`` its standard deviation, likewise: the unit
    of the network's input and output. ``stack``, ``(B, M, IMAGES + MAPS, H, W)``, has none. ``position`` is the contrast of the scene,
    ``(B, 1, H, W)``, see `CrossBandGaussian.position`.
    """

    estimate: Tensor
    unit: Tensor
    stack: Tensor
    position: Tensor


def bundle_features(
    model: CrossBandGaussian, sharp: Tensor, coarse: Tensor, sharp_mask: Tensor | None = None, coarse_mask: Tensor | None = None
) -> BundleFeatures:  # fmt: skip
    """Features of measurements ``(B, K, H, W)`` and ``(B, M, H / r, W / r)``, with masks that are one where they are valid."""
    k, r, size = model.bands, model.ratio, sharp.shape[-2:]
    means = model.means.to(sharp).reshape(1, -1, 1, 1)
    fine, low = filled_holes(sharp, sharp_mask, means[:, :k]), filled_holes(coarse, coarse_mask, means[:, k:])
    position = model.position(fine, None if sharp_mask is None else (sharp_mask > 0).expand_as(sharp))
    estimate, shown = torch.zeros(()), {}
    for index, found in model.each(fine, low, present(position) | set(SHOWN)):
        estimate = estimate + weight_at(position, index) * found
        if index in SHOWN:
            shown[index] = found[:, k:]
    pan, estimate, unit = estimate[:, :k].mean(1, keepdim=True), estimate[:, k:], model.at(position, model.deviations)[:, k:]
    covariance = model.covariance.to(sharp)
    first = covariance[:k].mean(0)
    slope = (first[k:] / first[:k].mean()).reshape(1, -1, 1, 1)
    smooth = F.interpolate(box_mean(low, _MEAN), size=size, mode="bilinear")
    smooth_sharp = box_mean(fine.mean(1, keepdim=True), _MEAN * r // 2 * 2 + 1)
    levels = means[:, k:]
    stack = sharp.new_empty(*estimate.shape[:2], IMAGES + MAPS, *size)
    images, maps = stack.split([IMAGES, MAPS], 2)
    images[:, :, 0] = estimate - smooth
    for place, index in enumerate(SHOWN, start=1):
        images[:, :, place] = shown[index] - estimate
    images[:, :, 5] = repeated(low, r) - smooth
    images[:, :, 6] = (smooth - levels) / 16
    images[:, :, 8] = slope * (fine.mean(1, keepdim=True) - smooth_sharp)
    images[:, :, 9] = slope * (pan - smooth_sharp)
    images /= unit[:, :, None]
    images[:, :, 7] = _missing(sharp, sharp_mask, 1) + _missing(coarse, coarse_mask, r)
    noise = noise_variance(model.coarse, F.avg_pool2d(smooth, r)).sqrt()
    own = noise_variance(model.sharp, smooth_sharp.expand(-1, k, -1, -1)).mean(1, keepdim=True).sqrt()
    maps[:, :, 0] = (repeated(noise, r) / unit).log()
    maps[:, :, 1] = (own * slope.abs().clamp(min=1e-3) / unit).log()
    maps[:, :, 2] = (unit / model.deviations[CONTRASTS.index(1.0), k:].to(sharp).reshape(1, -1, 1, 1)).log()
    maps[:, :, 3] = (unit / levels.clamp(min=1e-3)).log() / 2 + 2
    maps[:, :, 4] = smooth / (smooth.abs() + levels.clamp(min=1e-3))
    maps[:, :, 5:7] = 2 * modulation(model.sharp.psf, (0.5,)).to(sharp).mean(1)[..., None, None]
    maps[:, :, 7:9] = 2 * modulation(model.coarse.psf, (0.5 / r,)).to(sharp)[..., None, None]
    maps[:, :, 9] = torch.tensor(float(r)).log2() - 2
    spread = covariance.diagonal().sqrt()
    maps[:, :, 10] = (first[k:] / (spread[k:] * first[:k].mean().sqrt())).reshape(1, -1, 1, 1)
    maps[:, :, 11] = spread[k:].log().reshape(1, -1, 1, 1)
    return BundleFeatures(estimate, unit, stack, position)


def _missing(y: Tensor, mask: Tensor | None, factor: int) -> Tensor:
    """One where a measurement is invalid, on a grid so many times as fine."""
    if mask is None:
        return y.new_zeros(())
    return 1 - repeated((mask > 0).to(y).expand_as(y).amin(1, keepdim=True), factor)
