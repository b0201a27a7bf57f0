"""What was measured: one or several measurements of a scene, each with its operator, its noise and its valid pixels."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from deepinv.physics import Physics, StackedLinearPhysics
from deepinv.utils import TensorList
from torch import Tensor

from imaging.filters import box_mean
from imaging.sensors.noise import noise_variance
from imaging.sensors.physics import SensorPhysics

Measured: TypeAlias = Tensor | TensorList
Mask: TypeAlias = Tensor | TensorList | None

_PROBES, _NEIGHBOURHOOD = 16, 17
_DIAGONAL = 1e-3
"""Relative scatter of probes below which an operator counts as diagonal, and its information is not smoothed."""


class Measurement(NamedTuple):
    """One measurement ``(B, C, h, w)``, its physics, and one where it is valid (None: everywhere)."""

    y: Tensor
    physics: Physics
    mask: Tensor | None


def measurements(y: Measured, physics: Physics, mask: Mask = None) -> list[Measurement]:
    """Measurements of a scene, several for a stacked physics; `TypeError` where a list meets a physics that gives one, or the reverse."""
    if not isinstance(physics, StackedLinearPhysics):
        if isinstance(y, TensorList) or isinstance(mask, TensorList):
            raise TypeError(f"a list of measurements needs a StackedLinearPhysics, not {type(physics).__name__}")
        return [Measurement(y, physics, mask)]
    if not isinstance(y, TensorList) or len(y) != len(physics.physics_list) or isinstance(mask, Tensor):
        raise TypeError(f"a StackedLinearPhysics of {len(physics.physics_list)} needs a TensorList of as many measurements and masks")
    masks = [None] * len(y) if mask is None else list(mask)
    return [Measurement(*p) for p in zip(y, physics.physics_list, masks, strict=True)]


def scene_shape(y: Measured, physics: Physics) -> torch.Size:
    """Shape ``(B, C, H, W)`` of the scenes that were measured."""
    found: torch.Size = physics.A_adjoint(y).shape
    return found


def weighted_normal(x: Tensor, pieces: list[Measurement], variances: list[Tensor]) -> Tensor:
    """``A^T Sigma^-1 A x`` over all measurements, masked values left out."""
    total = torch.zeros_like(x)
    for part, variance in zip(pieces, variances, strict=True):
        seen = part.physics.A(x) / variance
        total = total + part.physics.A_adjoint(seen if part.mask is None else seen * part.mask)
    return total


def information(x: Tensor, pieces: list[Measurement]) -> Tensor:
    r"""Diagonal of :math:`A^T \Sigma^{-1} A` at a scene ``(B, C, H, W)``, over all measurements.

    Exact for a `SensorPhysics`. For other operators it is Hutchinson's estimate by random signs, exact where the operator is diagonal
    (denoising, inpainting), otherwise averaged over 17 x 17 pixels.
    """
    total = torch.zeros_like(x)
    for part in pieces:
        precision = 1 / noise_variance(part.physics, part.physics.A(x))
        precision = precision if part.mask is None else precision * part.mask
        if isinstance(part.physics, SensorPhysics):
            total = total + part.physics.information(precision)
        else:
            total = total + _probed(x, part.physics, precision)
    return total


def signs(like: Tensor, seed: int) -> Tensor:
    """Random signs of a shape ``(B, ...)``, the same for each item and on every device."""
    drawn = torch.randint(0, 2, like.shape[1:], generator=torch.Generator().manual_seed(seed))
    return (2 * drawn - 1).to(like).expand_as(like).contiguous()  # torch 2.5 transforms no expanded tensors


def _probed(x: Tensor, physics: Physics, precision: Tensor) -> Tensor:
    probes = torch.stack([s * physics.A_adjoint(precision * physics.A(s)) for s in (signs(x, k) for k in range(_PROBES))])
    found = probes.mean(0).clamp(min=0)
    if float(probes.std(0).mean()) < _DIAGONAL * float(found.mean()):
        return found
    return box_mean(found, _NEIGHBOURHOOD)
