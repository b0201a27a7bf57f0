"""A first estimate of the scene: Wiener deconvolution with a short filter, the same everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.sensors.physics import SensorPhysics
from imaging.sensors.variance import noise_variance

_GRID = 128
_RADIUS = 12
"""Taps of a filter on each side of its middle, in pixels of the measurement."""
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


def _aliased(power: Tensor, factor: int) -> Tensor:
    """Sum over the frequencies that a sampling of every ``factor``-th pixel cannot tell apart, on the design grid."""
    if factor == 1:
        return power
    step = _GRID // factor
    folded = power.reshape(*power.shape[:-2], factor, step, factor, step).sum((-4, -2))
    return folded.repeat(*(1,) * (folded.ndim - 2), factor, factor)


def wiener_filter(psf: Tensor, variance: Tensor, level: Tensor, contrast: float = 1.0, factor: int = 1) -> Tensor:
    """Short Wiener filter of each item and band, ``(B, C, 24 factor + 1, 24 factor + 1)``, that keeps a constant signal.

    It acts on the measurement with zeros between its pixels; its taps of each phase sum to 1.

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
    factor : int
        Pixels of the scene to one of the measurement.
    """
    transfer, spectrum = _transfer(psf), contrast * _design_spectrum(level, psf.device)
    noise = variance.double().to(psf.device)[..., None, None]
    seen = _aliased(transfer.abs().square() * spectrum, factor) / factor**2
    response = transfer.conj() * spectrum / (seen + noise)
    kernel = torch.fft.fftshift(torch.fft.ifft2(response).real, (-2, -1))
    middle, radius = _GRID // 2, factor * _RADIUS
    kernel = kernel[..., middle - radius : middle + radius + 1, middle - radius : middle + radius + 1]
    n = torch.arange(-radius, radius + 1, dtype=torch.float64, device=psf.device)
    taper = torch.cos(math.pi * n / (2 * radius + 2)).square()
    kernel = kernel * taper[:, None] * taper[None]
    for row in range(factor):
        for column in range(factor):
            phase = kernel[..., row::factor, column::factor]
            phase /= phase.sum((-2, -1), keepdim=True)
    found: Tensor = kernel.to(psf.dtype)
    return found


def sensor_error(psf: Tensor, variance: Tensor, level: Tensor, factor: int = 1) -> Tensor:
    """Mean squared error that a Wiener filter is expected to leave in a scene of the typical spectrum, ``(B,)``; arguments as there."""
    spectrum, noise = _design_spectrum(level, psf.device), variance.double().to(psf.device)[..., None, None]
    seen = _transfer(psf).abs().square() * spectrum
    found: Tensor = (spectrum * (1 - seen / (_aliased(seen, factor) + factor**2 * noise))).mean((1, 2, 3))
    return found


def _detail(y: Tensor) -> Tensor:
    """Second differences along both axes, ``(B, 2 C, H, W)``, borders replicated: high frequencies without the highest."""
    weights = y.new_tensor([-1.0, -2.0, 0.0, 6.0, 0.0, -2.0, -1.0]) / 6
    flat = y.flatten(0, 1)[:, None]
    padded = F.pad(flat, (3, 3, 3, 3), mode="replicate")
    across, along = F.conv2d(padded[..., 3:-3, :], weights.reshape(1, 1, 1, 7)), F.conv2d(padded[..., :, 3:-3], weights.reshape(1, 1, 7, 1))
    return torch.cat([across, along], 1).reshape(len(y), -1, *y.shape[-2:])


def local_contrast(y: Tensor, psf: Tensor, variance: Tensor, level: Tensor, factor: int = 1) -> Tensor:
    """Power of the scene around each pixel relative to the typical one, ``(B, C, H, W)``, within the range of the filter bank.

    From the mean square of second differences over 17 x 17 pixels, less what noise contributes. What it says of a pixel depends on the
    measurement around it only.
    """
    batch, channels = y.shape[:2]
    squares = _detail(y).square().reshape(batch, channels, 2, *y.shape[-2:]).mean(2)
    half = _NEIGHBOURHOOD // 2
    energy = F.avg_pool2d(F.pad(squares, (half,) * 4, mode="replicate"), _NEIGHBOURHOOD, 1)
    size = _GRID // factor
    impulse = torch.zeros(1, 1, size, size, dtype=torch.float64, device=y.device)
    impulse[..., size // 2, size // 2] = 1
    response = torch.fft.fft2(_detail(impulse)).abs().square().mean(1, keepdim=True).repeat(1, 1, factor, factor)
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
    variance, mean, factor = noise_variance(physics, levels).mean((2, 3)), levels[:, 0, 0, 0], physics.factor
    margin = physics.margin // factor
    padded = F.pad(y, (margin + _RADIUS,) * 4, mode="replicate")
    position = local_contrast(y, physics.psf, variance, mean, factor).log2()
    position = F.pad((position - math.log2(_CONTRASTS[0])) / 2, (margin,) * 4, mode="replicate")
    estimate: Tensor = torch.zeros(())
    for k, contrast in enumerate(_CONTRASTS):
        filtered = _filtered(padded, wiener_filter(physics.psf, variance, mean, contrast, factor).to(y.dtype), factor)
        weight = (1 - (position - k).abs()).clamp(min=0)
        estimate = estimate + weight.repeat_interleave(factor, 2).repeat_interleave(factor, 3) * filtered
    return estimate


def _filtered(y: Tensor, kernel: Tensor, factor: int) -> Tensor:
    """Convolution of ``y`` with zeros between its pixels, where ``y`` is known all around; one filter for each phase."""
    batch, channels = y.shape[:2]
    taps = F.pad(kernel, (0, factor - 1, 0, factor - 1))
    phases = [taps[..., p::factor, q::factor] for p in range(factor) for q in range(factor)]
    weight = torch.stack(phases, 2).flip((-2, -1)).expand(batch, channels, -1, -1, -1).flatten(0, 2)[:, None]
    found = F.conv2d(y.flatten(0, 1)[None], weight, groups=batch * channels)
    return F.pixel_shuffle(found.reshape(batch, -1, *found.shape[2:]), factor)
