"""A first estimate of the scene: Wiener deconvolution with a short filter, the same everywhere."""

from __future__ import annotations

import math

import torch
from deepinv.physics import Physics
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior.likelihood import noise_variance
from imaging.sensors.physics import SensorPhysics

_GRID = 64
_RADIUS = 12


def scene_spectrum(frequency: Tensor, level: float) -> Tensor:
    """Typical power spectrum of optical scenes, per pixel, at radial ``frequency`` (cycles per pixel).

    Falls with the third power of frequency, as aerial scenes do; the contrast is taken proportional to the signal ``level``.
    """
    return (level / 0.4) ** 2 * 2e-5 / frequency.clamp(min=1 / 256) ** 3


def wiener_filter(psf: Tensor, variance: Tensor, level: float) -> Tensor:
    """Short Wiener filter of each band, ``(1, C, 25, 25)``, with unit gain at zero frequency.

    Parameters
    ----------
    psf : Tensor
        ``(1, C, k, k)``.
    variance : Tensor
        ``(C,)`` noise variance at the mean signal, in image units.
    level : float
        Mean signal, in image units.
    """
    k = psf.shape[-1]
    grid = F.pad(psf, (0, _GRID - k, 0, _GRID - k)).roll((-(k // 2), -(k // 2)), (-2, -1))
    transfer = torch.fft.fft2(grid.double())
    f = torch.fft.fftfreq(_GRID, dtype=torch.float64)
    spectrum = scene_spectrum(torch.hypot(f[:, None], f[None]), level).to(psf.device)
    noise = variance.double().to(psf.device).reshape(1, -1, 1, 1)
    response = transfer.conj() * spectrum / (transfer.abs().square() * spectrum + noise)
    kernel = torch.fft.fftshift(torch.fft.ifft2(response).real, (-2, -1))
    middle = _GRID // 2
    kernel = kernel[..., middle - _RADIUS : middle + _RADIUS + 1, middle - _RADIUS : middle + _RADIUS + 1]
    n = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64, device=psf.device)
    taper = torch.cos(math.pi * n / (2 * _RADIUS + 2)).square()
    kernel = kernel * taper[:, None] * taper[None]
    return (kernel / kernel.sum((-2, -1), keepdim=True)).to(psf.dtype)


def wiener_estimate(y: Tensor, physics: Physics, level: float) -> Tensor:
    """First estimate of the scene, with the scene's margins, ``(B, C, H', W')``.

    For a `SensorPhysics` the filter depends on the sensor and the mean signal only, so that it is the same for all tiles of a scene.
    For any other physics it is the adjoint, normalised to the gain of a constant scene.
    """
    if not isinstance(physics, SensorPhysics):
        x: Tensor = physics.A_adjoint(y)
        gain = physics.A_adjoint(physics.A(torch.ones_like(x)))
        return x / gain.clamp(min=0.1)
    variance = noise_variance(physics, torch.full((1, y.shape[1], 1, 1), level, device=y.device, dtype=y.dtype)).reshape(-1)
    kernel = wiener_filter(physics.psf, variance, level)
    padded = F.pad(y, (physics.margin + _RADIUS,) * 4, mode="replicate")
    channels = y.shape[1]
    weight = kernel.expand(1, channels, -1, -1).transpose(0, 1)
    return F.conv2d(padded, weight.flip((-2, -1)).to(y.dtype), groups=channels)
