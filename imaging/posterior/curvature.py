"""How sharp the posterior of each latent will be, before the fit: what the densities start from and are scaled by."""

from __future__ import annotations

import torch
from deepinv.physics import Physics
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior.likelihood import noise_variance
from imaging.priors.base import LatentPrior
from imaging.sensors.physics import SensorPhysics

_CANVAS, _PROBES = 192, 4
_DIFFERENCE = 0.05
"""Step of finite differences through a decoder without a linear part, in quantisation steps."""


def _signs(like: Tensor, seed: int) -> Tensor:
    """Random signs of a shape ``(B, ...)``, the same for each item and on every device."""
    drawn = torch.randint(0, 2, like.shape[1:], generator=torch.Generator().manual_seed(seed))
    return (2 * drawn - 1).to(like).expand_as(like)


def _probe(prior: LatentPrior, physics: Physics, z: Tensor, flat: Tensor, variance: Tensor, scale: Tensor, seed: int) -> Tensor:
    """One Rademacher estimate of the diagonal of J^T A^T V^-1 A J at the latents of a flat scene, in their shape."""
    height, width = flat.shape[-2:]
    signs = _signs(z, seed)

    def image(latents: Tensor) -> Tensor:
        linear = prior.linear(latents)
        return (prior.decode(latents) if linear is None else linear)[..., :height, :width].to(flat.dtype) / scale

    with torch.no_grad():
        if prior.linear(signs) is None:
            moved = (image(z + _DIFFERENCE * signs) - image(z - _DIFFERENCE * signs)) / (2 * _DIFFERENCE)
        else:
            moved = image(signs)
        weighted = physics.A_adjoint(physics.A(moved) / variance)
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        back: Tensor = torch.autograd.grad((image(z) * weighted).sum(), z)[0]
    return signs * back


def data_curvature(prior: LatentPrior, physics: Physics, level: Tensor, scale: Tensor, shape: torch.Size) -> Tensor:
    """Second derivative of the negative log-likelihood along each main latent of a flat scene, a mean over positions, ``(B, M, 1, 1)``.

    It depends on the sensor, the mean signal and the rate scale, and for a `SensorPhysics` not on the tile. Hutchinson's estimate of a
    diagonal with random signs, through the decoder's linear part where it has one.

    Parameters
    ----------
    prior : LatentPrior
        Decodes.
    physics : deepinv LinearPhysics
        Operator and noise model.
    level : Tensor
        ``(B,)`` mean signal.
    scale : Tensor
        ``(B, 1, 1, 1)`` rate scale.
    shape : torch.Size
        Of the scenes, ``(B, C, H, W)``.
    """
    free = isinstance(physics, SensorPhysics)
    same = free and bool((level == level[0]).all()) and bool((scale == scale[0]).all())
    size = (_CANVAS, _CANVAS) if free else tuple(shape[2:])
    levels, scales = (level[:1], scale[:1]) if same else (level, scale)
    flat = levels.reshape(-1, 1, 1, 1).expand(-1, shape[1], *size)
    height, width = flat.shape[-2:]
    canvas = F.pad(flat, (0, -width % prior.hyper_stride, 0, -height % prior.hyper_stride), mode="replicate")
    with torch.no_grad():
        z = prior.encode(canvas * scales).z.to(flat.dtype)
        variance = noise_variance(physics, physics.A(flat))
    found = torch.stack([_probe(prior, physics, z, flat, variance, scales, k) for k in range(_PROBES)]).mean(0)
    if free:  # away from the edge of what is measured
        rows, columns = (n // 3 for n in found.shape[-2:])
        found = found[..., rows:-rows, columns:-columns]
    return found.mean((2, 3), keepdim=True).clamp(min=0).expand(len(level), -1, -1, -1)
