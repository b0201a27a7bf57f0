"""Wiener deconvolution with short filters, a bank for scenes of several contrasts, mixed by the contrast around each pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.filters import box_mean, filled_holes
from imaging.sensors.noise import noise_variance
from imaging.sensors.physics import SensorPhysics, good_size, spread

_GRID = 128
RADIUS = 12
"""Taps of a filter on each side of its middle, in pixels of the measurement."""
CONTRASTS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0)
"""Power relative to the typical spectrum that the filters of the bank are made for."""
_NEIGHBOURHOOD = 17
"""Pixels of the square over which the local contrast is measured."""


def scene_spectrum(frequency: Tensor, level: Tensor) -> Tensor:
    """Typical power spectrum of optical scenes, per pixel, at radial ``frequency`` (cycles per pixel).

    It falls with the third power of frequency, as aerial scenes' does; the contrast is taken to be proportional to the mean signal
    ``level``, which is broadcast.
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


@dataclass(frozen=True)
class WienerBank:
    """Short Wiener filters of a sensor for scenes of several contrasts, and the errors that they are expected to leave.

    Everything follows from the sensor's ``psf``, ``(1, C, k, k)`` or ``(B, C, k, k)`` with k at most 127, the mean signal ``level``,
    ``(B,)``, and the noise's ``variance`` there, ``(B, C)``, in image units: it is the same all over a scene. ``factor`` pixels of the
    scene, along each side, make one of the measurement. ``contrasts`` are powers relative to the typical spectrum, ascending in powers of
    4, for which a filter is made each; more keeps more detail and more noise.
    """

    psf: Tensor
    variance: Tensor
    level: Tensor
    factor: int = 1
    contrasts: tuple[float, ...] = CONTRASTS

    @cached_property
    def _transfer(self) -> Tensor:
        return _transfer(self.psf)

    @cached_property
    def _power(self) -> Tensor:
        parts = torch.view_as_real(self._transfer)
        return parts[..., 0].square() + parts[..., 1].square()  # of complex numbers, abs() takes many times as long

    @cached_property
    def _spectrum(self) -> Tensor:
        return _design_spectrum(self.level, self.psf.device)

    @cached_property
    def _noise(self) -> Tensor:
        return self.variance.double().to(self.psf.device)[..., None, None]

    def kernel(self, contrast: float) -> Tensor:
        """One filter for each item and band, ``(B, C, 24 factor + 1, 24 factor + 1)``, that keeps a constant signal.

        It acts on the measurement with zeros between its pixels; its taps of each phase sum to 1.
        """
        spectrum, factor = contrast * self._spectrum, self.factor
        seen = _aliased(self._power * spectrum, factor) / factor**2
        response = self._transfer.conj() * spectrum / (seen + self._noise)
        kernel = torch.fft.fftshift(torch.fft.ifft2(response).real, (-2, -1))
        middle, radius = _GRID // 2, factor * RADIUS
        kernel = kernel[..., middle - radius : middle + radius + 1, middle - radius : middle + radius + 1]
        n = torch.arange(-radius, radius + 1, dtype=torch.float64, device=kernel.device)
        taper = torch.cos(math.pi * n / (2 * radius + 2)).square()
        kernel = kernel * taper[:, None] * taper[None]
        for row in range(factor):
            for column in range(factor):
                phase = kernel[..., row::factor, column::factor]
                phase /= phase.sum((-2, -1), keepdim=True)
        found: Tensor = kernel.to(self.psf.dtype)
        return found

    def error_spectrum(self, contrast: float = 1.0) -> Tensor:
        """Power spectrum of the error that the best linear estimate is expected to leave, ``(B, C, n, n)`` on a grid of frequencies."""
        spectrum = contrast * self._spectrum
        seen = self._power * spectrum
        return spectrum * (1 - seen / (_aliased(seen, self.factor) + self.factor**2 * self._noise))

    def errors(self) -> Tensor:
        """Root mean square error expected at each contrast, ``(K, B, C, 1, 1)``."""
        return torch.stack([self.error_spectrum(c).mean((-2, -1), keepdim=True).sqrt().to(self.psf.dtype) for c in self.contrasts])

    def filtered(self, padded: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Each kernel, and the measurement filtered by it, ``(B, C, factor H, factor W)``.

        ``padded`` is the measurement with what lies around it, ``(B, C, H + 2 RADIUS, W + 2 RADIUS)``.
        """
        size = [good_size(self.factor * n) for n in padded.shape[-2:]]
        level = self.level.to(padded).reshape(-1, 1, 1, 1)
        transform = torch.fft.rfft2(spread(padded - level, self.factor), s=size)  # around zero, where float32 is finer
        rows, columns = (self.factor * (n - 2 * RADIUS) for n in padded.shape[-2:])
        first = 2 * self.factor * RADIUS
        for contrast in self.contrasts:
            kernel = self.kernel(contrast)
            response = torch.fft.rfft2(kernel, s=size)
            filtered: Tensor = torch.fft.irfft2(transform * response, s=size)[..., first : first + rows, first : first + columns]
            yield kernel, filtered + level

    def position(self, y: Tensor) -> Tensor:
        """Where between the contrasts of the bank the scene around each pixel lies, 0 to K - 1, ``(B, C, H, W)``; see `local_contrast`."""
        contrast = local_contrast(y, self.psf, self.variance, self.level, self.factor)
        return (contrast.clamp(self.contrasts[0], self.contrasts[-1]).log2() - math.log2(self.contrasts[0])) / 2


def modulation(psf: Tensor, frequencies: tuple[float, ...]) -> Tensor:
    """Modulus of kernels' Fourier transform at frequencies of their grid along both axes, ``(B, C, 2 len(frequencies))``, columns first."""
    n = torch.arange(psf.shape[-1], device=psf.device) - psf.shape[-1] // 2
    found = []
    for axis in (-2, -1):
        line = psf.sum(axis)
        for frequency in frequencies:
            angle = 2 * torch.pi * frequency * n
            found.append(torch.hypot((line * angle.cos()).sum(-1), (line * angle.sin()).sum(-1)))
    return torch.stack(found, -1)


def weight_at(position: Tensor, index: int) -> Tensor:
    """Weight of a filter of the bank at positions between them: linear interpolation."""
    return (1 - (position - index).abs()).clamp(min=0)


def repeated(x: Tensor, factor: int) -> Tensor:
    """Each pixel of ``(B, C, H, W)`` repeated ``factor`` times along both axes."""
    return x if factor == 1 else x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def sensor_error(psf: Tensor, variance: Tensor, level: Tensor, factor: int = 1) -> Tensor:
    """Mean squared error that a Wiener filter is expected to leave in a scene of the typical spectrum, ``(B,)``; see `WienerBank`."""
    return WienerBank(psf, variance, level, factor).error_spectrum().mean((1, 2, 3))


def _detail(y: Tensor) -> Tensor:
    """Second differences along both axes, ``(B, 2 C, H, W)``, borders replicated: high frequencies without the highest."""
    weights = y.new_tensor([-1.0, -2.0, 0.0, 6.0, 0.0, -2.0, -1.0]) / 6
    padded = F.pad(y.flatten(0, 1)[:, None], (3, 3, 3, 3), mode="replicate")
    across, along = F.conv2d(padded[..., 3:-3, :], weights.reshape(1, 1, 1, 7)), F.conv2d(padded[..., :, 3:-3], weights.reshape(1, 1, 7, 1))
    return torch.cat([across, along], 1).reshape(len(y), -1, *y.shape[-2:])


def local_contrast(
    y: Tensor, psf: Tensor, variance: Tensor, level: Tensor, factor: int = 1, mask: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Power of the scene around each pixel relative to the typical one, ``(B, C, H, W)``; noise can make it negative.

    From the mean square of second differences over 17 x 17 pixels, less what noise contributes. What it says of a pixel depends on the
    measurement around it only. With a ``mask``, one where ``y`` is valid, differences that reach what is invalid do not count: they are
    those of valid pixels nearby, and typical ones where there are none.
    """
    batch, channels = y.shape[:2]
    energy = _detail(y).square().reshape(batch, channels, 2, *y.shape[-2:]).mean(2)
    size = _GRID // factor
    impulse = torch.zeros(1, 1, size, size, dtype=torch.float64, device=y.device)
    impulse[..., size // 2, size // 2] = 1
    response = torch.fft.fft2(_detail(impulse)).abs().square().mean(1, keepdim=True).repeat(1, 1, factor, factor)
    typical = (response * _transfer(psf).abs().square() * _design_spectrum(level, y.device)).mean((-2, -1), keepdim=True)
    noise = variance.double().to(y.device)[..., None, None] * response.mean()
    typical, noise = typical.to(y.dtype), noise.to(y.dtype)
    if mask is not None:
        known = 1 - F.max_pool2d(1 - (mask > 0).to(y).expand_as(y), 7, 1, 3)
        energy = filled_holes(energy, known, (typical + noise).expand(batch, channels, 1, 1))
    found: Tensor = (box_mean(energy, _NEIGHBOURHOOD) - noise) / typical
    return found


def sensor_bank(physics: SensorPhysics, y: Tensor, level: float | Tensor, contrasts: tuple[float, ...] = CONTRASTS) -> WienerBank:
    """The bank for a measurement ``(B, C, H, W)``, at one mean signal or ``(B,)`` of them."""
    levels = torch.as_tensor(level, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1).expand(len(y), y.shape[1], 1, 1)
    return WienerBank(physics.psf, noise_variance(physics, levels).mean((2, 3)), levels[:, 0, 0, 0], physics.factor, contrasts)


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
    bank, margin = sensor_bank(physics, y, level), physics.margin // physics.factor
    padded = F.pad(y, (margin + RADIUS,) * 4, mode="replicate")
    position = F.pad(bank.position(y), (margin,) * 4, mode="replicate")
    estimate: Tensor = torch.zeros(())
    for k, (_, filtered) in enumerate(bank.filtered(padded.double())):  # a fit makes more of rounding than it is
        estimate = estimate + repeated(weight_at(position, k), physics.factor) * filtered
    return estimate.to(y.dtype)
