"""How sharp a restored scene is: what tells a scene unlike the training images from one like them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.filters import box_mean, filtered

_DEVIATIONS, _RADIUS = (0.8, 1.6), 5
_NEIGHBOURHOOD = 3
_RANGE = (0.25, 4.0)
_ROUNDING = 1e-12
"""Energy that float32 leaves in flat parts of an image in [0, 1], and more."""


def _blurred(x: Tensor, deviation: float) -> Tensor:
    axis = torch.arange(-_RADIUS, _RADIUS + 1, dtype=x.dtype, device=x.device)
    taps = torch.exp(-axis.square() / (2 * deviation**2))
    return filtered(x, taps / taps.sum())


def sharpness(x: Tensor, stride: int) -> Tensor:
    """Energy of the finest detail of a scene over that of the next coarser one, around each latent; ``(B, 1, H / stride, W / stride)``.

    The finest detail is what a Gaussian blur of 0.8 pixels takes away, the next coarser what one of 1.6 pixels takes away from the rest.
    The scene is ``(B, C, H, W)``, its sides multiples of the ``stride`` of the latents. Squares are averaged over bands and over 3 x 3
    latents, and the ratio is kept between 1/4 and 4. It is around 1 for aerial images, more for images made by averaging finer pixels, and
    does not depend on contrast or brightness.
    """
    fine, coarse = (_blurred(x, d) for d in _DEVIATIONS)
    energies = []
    for detail in (x - fine, fine - coarse):
        power = F.avg_pool2d(detail.square().mean(1, keepdim=True), stride)
        energies.append(box_mean(power, _NEIGHBOURHOOD, at_once=True))
    return ((energies[0] + _ROUNDING) / (energies[1] + _ROUNDING)).clamp(*_RANGE)
