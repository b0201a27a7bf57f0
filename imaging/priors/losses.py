"""What a training minimises, and the figures of its validation curve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imaging.priors.base import LatentPrior


def _inner(x: Tensor, border: int) -> Tensor:
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def random_widths(model: LatentPrior, count: int, narrowest: float) -> Tensor:
    """Widths of the latents' densities as a measurement would leave them, ``(count, M, 1, 1)`` or ``(count, 1, 1, 1)``, at most 1.

    A sensor of Gaussian MTF narrows the posterior of a latent in proportion to what it passes of the latent's frequency. The MTF at
    Nyquist is drawn from 0.1 to 0.6, the width at frequency zero log-uniformly from ``narrowest`` to 1. Latents without a frequency of
    their own all get the width at frequency zero.
    """
    device = next(model.parameters()).device
    frequency = model.squared_frequency()
    exponent = (torch.zeros(1) if frequency is None else frequency).to(device)[None]
    nyquist = torch.empty(count, 1, device=device).uniform_(0.1, 0.6)
    base = torch.empty_like(nyquist).uniform_(math.log(narrowest), 0.0).exp()
    return (base * nyquist**-exponent).clamp(max=1.0)[..., None, None]


def rate_distortion(model: LatentPrior, x: Tensor, widths: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean squared error away from the border, and bits per pixel, of images ``(B, C, H, W)`` perturbed as `LatentPrior.perturb` says."""
    z, cost = model.perturb(x, widths)
    error = _inner(model.decode(z).float() - x, model.border).square().mean()
    return error, cost.sum() / (math.log(2) * len(x) * x.shape[2] * x.shape[3])


def std_loss(model: LatentPrior, x: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of the decoder's error, nats per value, with only the standard deviation open to learning."""
    with torch.no_grad():
        z, _ = model.perturb(x)
        error = model.decode(z).float() - x
    scale = model.decode_std(z)
    return _inner((error / scale).square() / 2 + scale.log(), model.border).mean()


@torch.no_grad()
def validate(model: LatentPrior, images: Tensor, gain: float = 1.0) -> dict[str, float]:
    """PSNR (at the original radiometry), bits per pixel and objective over validation images ``(N, C, H, W)``."""
    error = bits = torch.zeros(())
    for x in images.split(4):
        e, b = rate_distortion(model, x * gain)
        error, bits = error + e.cpu() * len(x) / len(images), bits + b.cpu() * len(x) / len(images)
    objective = model.objective(error.to(images.device), bits.to(images.device))
    return {"psnr": -10 * math.log10(float(error) / gain**2), "bits": float(bits), "objective": float(objective)}
