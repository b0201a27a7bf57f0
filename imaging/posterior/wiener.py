"""A first estimate of the scene: Wiener deconvolution with a short filter, the same everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior.noise import noise_variance
from imaging.sensors.physics import SensorPhysics

_GRID = 128
_RADIUS = 12
_CONTRASTS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0)
"""Power relative to the typical spectrum that the filters of the bank are made for."""
_NEIGHBOURHOOD = 17
"""Pixels of the square over which the local contrast is measured."""


def scene_spectrum(frequency: Tensor, level: Tensor) -> Tensor:
    """Typical power spectrum of optical scenes, per pixel, at radial ``frequency`` (cycles per pixel).

    Falls with the third power of frequency, as aerial scenes do; the contrast is taken proportional to the mean signal ``level``, which
    is broadcast.
    """
    return (level / 0.4) ** 2 * 2e-5 / frequency.clamp(min=1 / 256) ** 3


def _transfer(psf: Tensor) -> Tensor:
    """Fourier transform of kernels ``(..., k, k)`` centred on the first pixel of the design grid, complex128."""
    k = psf.shape[-1]
    grid = F.pad(psf, (0, _GRID - k, 0, _GRID - k)).roll((-(k // 2), -(k // 2)), (-2, -1))
    transfer: Tensor = torch.fft.fft2(grid.double())
    return transfer


def _design_spectrum(level: Tensor, device: torch.device) -> Tensor:
    """`scene_spectrum` on the design grid for levels ``(B,)``: ``(B, 1, n, n)``, float64."""
    f = torch.fft.fftfreq(_GRID, dtype=torch.float64)
    return scene_spectrum(torch.hypot(f[:, None], f[None]).to(device), level.double().to(device).reshape(-1, 1, 1, 1))


def wiener_filter(psf: Tensor, variance: Tensor, level: Tensor, contrast: float = 1.0) -> Tensor:
    """Short Wiener filter of each item and band, ``(B, C, 25, 25)``, with unit gain at zero frequency.

    Parameters
    ----------
    psf : Tensor
        ``(1, C, k, k)`` or ``(B, C, k, k)``, k at most 127.
    variance : Tensor
        ``(B, C)`` noise variance at the mean signal, in image units.
    level : Tensor
        ``(B,)`` mean signal, in image units.
    contrast : float
        Power of the scene relative to the typical one; more keeps more detail and more noise.
    """
    transfer, spectrum = _transfer(psf), contrast * _design_spectrum(level, psf.device)
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


def sensor_error(psf: Tensor, variance: Tensor, level: Tensor) -> Tensor:
    """Mean squared error that a Wiener filter is expected to leave in a scene of the typical spectrum, ``(B,)``; arguments as there."""
    spectrum, noise = _design_spectrum(level, psf.device), variance.double().to(psf.device)[..., None, None]
    found: Tensor = (spectrum * noise / (_transfer(psf).abs().square() * spectrum + noise)).mean((1, 2, 3))
    return found


def _detail(y: Tensor) -> Tensor:
    """Second differences along both axes, ``(B, 2 C, H, W)``, borders replicated: high frequencies without the highest."""
    weights = y.new_tensor([-1.0, -2.0, 0.0, 6.0, 0.0, -2.0, -1.0]) / 6
    flat = y.flatten(0, 1)[:, None]
    padded = F.pad(flat, (3, 3, 3, 3), mode="replicate")
    across, along = F.conv2d(padded[..., 3:-3, :], weights.reshape(1, 1, 1, 7)), F.conv2d(padded[..., :, 3:-3], weights.reshape(1, 1, 7, 1))
    return torch.cat([across, along], 1).reshape(len(y), -1, *y.shape[-2:])


def local_contrast(y: Tensor, psf: Tensor, variance: Tensor, level: Tensor) -> Tensor:
    """Power of the scene around each pixel relative to the typical one, ``(B, C, H, W)``, within the range of the filter bank.

    From the mean square of second differences over 17 x 17 pixels, less what noise contributes. What it says of a pixel depends on the
    measurement around it only.
    """
    batch, channels = y.shape[:2]
    squares = _detail(y).square().reshape(batch, channels, 2, *y.shape[-2:]).mean(2)
    half = _NEIGHBOURHOOD // 2
    energy = F.avg_pool2d(F.pad(squares, (half,) * 4, mode="replicate"), _NEIGHBOURHOOD, 1)
    impulse = torch.zeros(1, 1, _GRID, _GRID, dtype=torch.float64, device=y.device)
    impulse[..., _GRID // 2, _GRID // 2] = 1
    response = torch.fft.fft2(_detail(impulse)).abs().square().mean(1, keepdim=True)
    typical = (response * _transfer(psf).abs().square() * _design_spectrum(level, y.device)).mean((-2, -1), keepdim=True)
    noise = variance.double().to(y.device)[..., None, None] * response.mean()
    found: Tensor = (energy - noise.to(y.dtype)) / typical.to(y.dtype)
    return found.clamp(_CONTRASTS[0], _CONTRASTS[-1])


def wiener_estimate(y: Tensor, physics: SensorPhysics, level: float | Tensor) -> Tensor:
    """First estimate of the scene, with the scene's margins, ``(B, C, H', W')``.

    A bank of filters depends on the sensor and the mean signal only, and is mixed by the contrast around each pixel, so that a pixel gets
    the same in all tiles of a scene.

    Parameters
    ----------
    y : Tensor
        ``(B, C, H, W)`` measurement.
    physics : SensorPhysics
        Operator and noise model.
    level : float or (B,) Tensor
        Mean signal of each item, above 0.
    """
    levels = torch.as_tensor(level, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1).expand(len(y), y.shape[1], 1, 1)
    variance = noise_variance(physics, levels).mean((2, 3))
    padded = F.pad(y, (physics.margin + _RADIUS,) * 4, mode="replicate")
    batch, channels = y.shape[:2]
    position = local_contrast(y, physics.psf, variance, levels[:, 0, 0, 0]).log2()
    position = F.pad((position - math.log2(_CONTRASTS[0])) / 2, (physics.margin,) * 4, mode="replicate")
    estimate = torch.zeros_like(position)
    for k, contrast in enumerate(_CONTRASTS):
        kernel = wiener_filter(physics.psf, variance, levels[:, 0, 0, 0], contrast).flip((-2, -1)).to(y.dtype)
        filtered = F.conv2d(padded.flatten(0, 1)[None], kernel.flatten(0, 1)[:, None], groups=batch * channels)
        estimate = estimate + (1 - (position - k).abs()).clamp(min=0) * filtered.reshape(estimate.shape)
    return estimate
