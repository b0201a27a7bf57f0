"""How sharp the posterior of each latent will be, before the fit: what the densities start from and are scaled by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior.measurement import Measurement, signs, weighted_normal
from imaging.priors.base import LatentPrior
from imaging.sensors.noise import items, noise_variance
from imaging.sensors.physics import SensorPhysics

_CANVAS, _PROBES = 192, 4
_DIFFERENCE = 0.05
"""Step of finite differences through a decoder without a linear part, in quantisation steps."""


def _probe(
    prior: LatentPrior, pieces: list[Measurement], z: Tensor, flat: Tensor, variances: list[Tensor], rate_scale: Tensor, seed: int
) -> Tensor:  # fmt: skip
    """One Rademacher estimate of the diagonal of J^T A^T V^-1 A J at the latents of a flat scene, in their shape."""
    height, width = flat.shape[-2:]
    drawn = signs(z, seed)

    def image(latents: Tensor) -> Tensor:
        linear = prior.linear(latents)
        return (prior.decode(latents) if linear is None else linear)[..., :height, :width].to(flat.dtype) / rate_scale

    with torch.no_grad():
        if prior.linear(drawn) is None:
            moved = (image(z + _DIFFERENCE * drawn) - image(z - _DIFFERENCE * drawn)) / (2 * _DIFFERENCE)
        else:
            moved = image(drawn)
        weighted = weighted_normal(moved, pieces, variances)
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        back: Tensor = torch.autograd.grad((image(z) * weighted).sum(), z)[0]
    return drawn * back


def data_curvature(prior: LatentPrior, pieces: list[Measurement], level: Tensor, rate_scale: Tensor, shape: torch.Size) -> Tensor:
    """Second derivative of the negative log-likelihood along each main latent of a flat scene, a mean over positions, ``(B, M, 1, 1)``.

    It depends on the sensor, the mean signal ``level``, ``(B,)``, and the rate scale, ``(B, 1, 1, 1)``, and for a `SensorPhysics` not on
    the tile: of what was measured only operators and noise models matter. ``shape`` is that of the scenes, ``(B, C, H, W)``. It is
    Hutchinson's estimate of a diagonal with random signs, through the decoder's linear part where there is one.
    """
    free = len(pieces) == 1 and isinstance(pieces[0].physics, SensorPhysics)
    same = free and items(pieces[0].physics) == 1 and bool((level == level[0]).all()) and bool((rate_scale == rate_scale[0]).all())
    size = (_CANVAS, _CANVAS) if free else tuple(shape[2:])
    levels, scales = (level[:1], rate_scale[:1]) if same else (level, rate_scale)
    flat = levels.reshape(-1, 1, 1, 1).expand(-1, shape[1], *size).contiguous()
    height, width = flat.shape[-2:]
    canvas = F.pad(flat, (0, -width % prior.hyper_stride, 0, -height % prior.hyper_stride), mode="replicate")
    with torch.no_grad():
        z = prior.encode(canvas * scales).z.to(flat.dtype)
        # Of a sensor the operator alone matters here: its gain is 1, and maps of noise count with their mean.
        variances = [
            noise_variance(p.physics, levels.reshape(-1, 1, 1, 1).expand(-1, shape[1], 1, 1)).mean((2, 3), keepdim=True)
            if free
            else noise_variance(p.physics, p.physics.A(flat))
            for p in pieces
        ]
    unmasked = [p._replace(mask=None) for p in pieces]
    found = torch.stack([_probe(prior, unmasked, z, flat, variances, scales, k) for k in range(_PROBES)]).mean(0)
    if free:  # away from the edge of what is measured
        rows, columns = (n // 3 for n in found.shape[-2:])
        found = found[..., rows:-rows, columns:-columns]
    return found.mean((2, 3), keepdim=True).clamp(min=0).expand(len(level), -1, -1, -1)
