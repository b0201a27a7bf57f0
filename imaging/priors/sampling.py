"""Scenes drawn from a prior itself, to see what it believes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imaging.priors.base import LatentPrior
from imaging.priors.factorized import FactorizedDensity

_REACH, _STEP = 400.0, 0.05
"""Hyper-latents are looked for up to here, on a grid of this step."""


def _draw_bottleneck(bottleneck: FactorizedDensity, count: int) -> Tensor:
    """``(C, count)`` draws from each channel's learned density convolved with a unit uniform, by the inverse distribution function."""
    channels = bottleneck.channels
    grid = torch.arange(-_REACH, _REACH, _STEP).expand(channels, 1, -1).contiguous()
    cumulative = torch.sigmoid(bottleneck.logits(grid))[:, 0].contiguous()
    places = torch.searchsorted(cumulative, torch.rand(channels, count)).clamp(max=grid.shape[2] - 1)
    return grid[:, 0].gather(1, places) + torch.rand(channels, count) - 0.5


def _draw_conditional(prior: LatentPrior, z: Tensor, h: Tensor) -> Tensor:
    mean, scale = prior.conditional(z, h)
    return mean + scale * torch.randn_like(mean) + torch.rand_like(mean) - 0.5


@torch.no_grad()
def sample_prior(prior: LatentPrior, size: int = 128, seed: int = 0) -> Tensor:
    """One scene drawn from a prior on the CPU, decoder noise left out, ``(1, C, size, size)``.

    A context model makes this sequential: each position needs a pass over all latents, group after group in raster order. ``size`` is a
    multiple of ``hyper_stride``; ``seed`` sets PyTorch's global generator.
    """
    torch.manual_seed(seed)
    shape = [v.shape for v in prior.encode(torch.zeros(1, prior.channels, size, size))]
    if prior.density == "gaussian":
        return prior.decode(torch.randn(shape[0]))
    bottleneck = next(m for m in prior.modules() if isinstance(m, FactorizedDensity))

    def independent(wanted: torch.Size) -> Tensor:
        return _draw_bottleneck(bottleneck, math.prod(wanted[2:])).reshape(1, *wanted[1:])

    if not shape[1].numel():
        return prior.decode(independent(shape[0]))
    h, z = independent(shape[1]), torch.zeros(shape[0])
    if prior.causal_groups is None:
        return prior.decode(_draw_conditional(prior, z, h))
    groups = torch.tensor(prior.causal_groups)
    for group in groups.unique():
        for row in range(shape[0][2]):
            for column in range(shape[0][3]):
                z[:, groups == group, row, column] = _draw_conditional(prior, z, h)[:, groups == group, row, column]
    return prior.decode(z)
