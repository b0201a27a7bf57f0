"""A first estimate of the scene: Wiener deconvolution with a short filter, the same everywhere."""

from __future__ import annotations

import math

import torch
from deepinv.physics import Physics
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior.likelihood import noise_variance
from imaging.sensors.physics import SensorPhysics

_GRID = 128
_RADIUS = 12


def scene_spectrum(frequency: Tensor, level: Tensor) -> Tensor:
    """Typical power spectrum of optical scenes, per pixel, at radial ``frequency`` (cycles per pixel).

    Falls with the third power of frequency, as aerial scenes do; the contrast is taken proportional to the mean signal ``level``, which
    is broadcast.
    """
    return (level / 0.4) ** 2 * 2e-5 / frequency.clamp(min=1 / 256) ** 3


def wiener_filter(psf: Tensor, variance: Tensor, level: Tensor) -> Tensor:
    """Short Wiener filter of each item and band, ``(B, C, 25, 25)``, with unit gain at zero frequency.

    Parameters
    ----------
    psf : Tensor
        ``(1, C, k, k)``, k at most 127.
    variance : Tensor
        ``(B, C)`` noise variance at the mean signal, in image units.
    level : Tensor
        ``(B,)`` mean signal, in image units.
    """
    k = psf.shape[-1]
    grid = F.pad(psf, (0, _GRID - k, 0, _GRID - k)).roll((-(k // 2), -(k // 2)), (-2, -1))
    transfer = torch.fft.fft2(grid.double())
    f = torch.fft.fftfreq(_GRID, dtype=torch.float64)
    spectrum = scene_spectrum(torch.hypot(f[:, None], f[None]).to(psf.device), level.double().to(psf.device).reshape(-1, 1, 1, 1))
    noise = variance.double().to(psf.device)[..., None, None]
    response = transfer.conj() * spectrum / (transfer.abs().square() * spectrum + noise)
    kernel = torch.fft.fftshift(torch.fft.ifft2(response).real, (-2, -1))
    middle = _GRID // 2
    kernel = kernel[..., middle - _RADIUS : middle + _RADIUS + 1, middle - _RADIUS : middle + _RADIUS + 1]
    n = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64, device=psf.device)
    taper = torch.cos(math.pi * n / (2 * _RADIUS + 2)).square()
    kernel = kernel * taper[:, None] * taper[None]
    normalised: Tensor = (kernel / kernel.sum((-2, -1), keepdim=True)).to(psf.dtype)
    return normalised


def wiener_estimate(y: Tensor, physics: Physics, level: float | Tensor) -> Tensor:
    """First estimate of the scene, with the scene's margins, ``(B, C, H', W')``.

    For a `SensorPhysics` the filter depends on the sensor and the mean signal only, so that it is the same for all tiles of a scene.
    For any other physics it is the adjoint, normalised to the gain of a constant scene; unseen pixels get the mean signal.

    Parameters
    ----------
    y : Tensor
        ``(B, C, H, W)`` measurement.
    physics : deepinv LinearPhysics
        Operator and noise model.
    level : float or (B,) Tensor
        Mean signal of each item, above 0.
    """
    levels = torch.as_tensor(level, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1).expand(len(y), y.shape[1], 1, 1)
    if not isinstance(physics, SensorPhysics):
        back = physics.A_adjoint(y)
        gain = physics.A_adjoint(physics.A(torch.ones_like(back))).clamp(min=0)
        x: Tensor = (back + 0.01 * levels[:, :1]) / (gain + 0.01)
        return x
    variance = noise_variance(physics, levels)[..., 0, 0]
    kernel = wiener_filter(physics.psf, variance, levels[:, 0, 0, 0]).flip((-2, -1)).to(y.dtype)
    padded = F.pad(y, (physics.margin + _RADIUS,) * 4, mode="replicate")
    batch, channels = y.shape[:2]
    estimate: Tensor = F.conv2d(padded.flatten(0, 1)[None], kernel.flatten(0, 1)[:, None], groups=batch * channels)
    return estimate.reshape(batch, channels, *estimate.shape[-2:])
