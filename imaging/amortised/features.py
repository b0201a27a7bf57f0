"""What the network is told: a measurement and its sensor as images on the scene's grid, in units of what is left to do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.filters import box_mean, filled_holes
from imaging.sensors.noise import noise_variance
from imaging.sensors.physics import SensorPhysics
from imaging.sensors.wiener import RADIUS, WienerBank, modulation, repeated, sensor_bank, weight_at

CONTRASTS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0, 256.0)
"""Of the bank: scenes in linear light have contrasts far above that of stretched orthophotos."""
SHOWN = (1, 3, 5, 7)
"""Filters of the bank that the network sees by themselves."""
_MEAN = 9
"""Side of the square whose mean is taken off, pixels of the measurement."""
IMAGES, MAPS = 8, 10
"""Channels for each band that are images in units of the expected error, and smooth maps of what is known of scene and sensor."""


@dataclass(frozen=True)
class Features:
    """A measurement as a network sees it, on the scene's grid, without margins.

    ``estimate`` is the mixed Wiener estimate, ``(B, C, H, W)`` in image units, and ``unit`` the error that it is expected to leave,
    likewise: the unit of the network's input and output. ``stack``, ``(B, C, IMAGES + MAPS, H, W)``, has none: multiplying signal and noise
    by one factor changes nothing.
    """

    estimate: Tensor
    unit: Tensor
    stack: Tensor


def make_features(
    y: Tensor, physics: SensorPhysics, level: Tensor, mask: Tensor | None = None, bank: WienerBank | None = None
) -> Features:  # fmt: skip
    """Features of measurements; what a pixel gets depends on some 90 measured pixels around it and on the mean signal.

    ``y`` is the measurement ``(B, C, h, w)`` in image units, ``mask`` one where it is valid, broadcastable to it, and ``level`` the mean
    signal ``(B,)`` of each scene, above 0. The margin of the physics does not matter. Where the sensor's ``bank`` at this level for
    `CONTRASTS` is known, it need not be made again.
    """
    factor, levels = physics.factor, level.to(y).reshape(-1, 1, 1, 1)
    bank = bank or sensor_bank(physics, y, level, CONTRASTS)
    known = filled_holes(y, mask, levels)
    position = bank.position(known)
    smooth = box_mean(known, _MEAN)
    deviation = noise_variance(physics, smooth).sqrt()
    errors = bank.errors().log()
    height, width = (factor * n for n in y.shape[2:])
    stack = y.new_empty(*y.shape[:2], IMAGES + MAPS, height, width)
    images, maps = stack.split([IMAGES, MAPS], 2)
    estimate, amplified, unit = y.new_zeros(*y.shape[:2], height, width), torch.zeros_like(y), torch.zeros_like(y)
    for k, (kernel, filtered) in enumerate(bank.filtered(F.pad(known, (RADIUS,) * 4, mode="replicate"))):
        weight = weight_at(position, k)
        estimate += repeated(weight, factor) * filtered
        amplified += weight * kernel.square().mean((-2, -1), keepdim=True).sqrt() * kernel.shape[-1]
        unit += weight * errors[k]
        if k in SHOWN:
            images[:, :, 1 + SHOWN.index(k)] = filtered
    unit = repeated(unit.exp(), factor)
    smooth, deviation, amplified = (repeated(v, factor) for v in (smooth, deviation, deviation * amplified))
    shown = 1 + len(SHOWN)
    images[:, :, 0] = estimate - smooth
    images[:, :, 1:shown] -= estimate[:, :, None]
    images[:, :, shown] = repeated(known, factor) - smooth
    images[:, :, shown + 1] = (smooth - levels) / 16
    images[:, :, : shown + 2] /= unit[:, :, None]
    images[:, :, shown + 2] = 0 if mask is None else 1 - repeated((mask > 0).to(y).expand_as(y), factor)
    typical = errors[CONTRASTS.index(1.0)].exp()
    maps[:, :, 0] = (deviation / unit).log()
    maps[:, :, 1] = (amplified / unit).log()
    maps[:, :, 2] = (unit / typical).log()
    maps[:, :, 3] = (unit / levels).log() / 2 + 2
    maps[:, :, 4] = smooth / (smooth.abs() + levels)
    maps[:, :, 5:9] = 2 * modulation(physics.psf, (0.25, 0.5)).to(y)[..., None, None]
    maps[:, :, 9] = factor - 1.0
    return Features(estimate, unit, stack)
