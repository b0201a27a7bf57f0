"""A first estimate of the scene for any linear physics: the mean of a Gaussian model, by conjugate gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from imaging.posterior.measurement import Measurement, signs, weighted_normal
from imaging.sensors.noise import noise_variance
from imaging.sensors.physics import SensorPhysics
from imaging.sensors.wiener import scene_spectrum, sensor_error

_ITERATIONS, _PROBES, _RINGS = 15, 2, 32


def _filtered(x: Tensor, response: Tensor) -> Tensor:
    """Circular filter with a real response on the grid of ``rfft2``."""
    found: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * response, s=x.shape[-2:])
    return found


def _radius(x: Tensor) -> Tensor:
    rows, columns = torch.fft.fftfreq(x.shape[-2]), torch.fft.rfftfreq(x.shape[-1])
    return torch.hypot(rows[:, None], columns[None]).to(x)


def _transfer(x: Tensor, pieces: list[Measurement], variances: list[Tensor]) -> Tensor:
    """What `weighted_normal` passes of each radial frequency, on average: the cross-spectrum of white noise, ``(B, C, H, W // 2 + 1)``."""
    ring = (_radius(x) / 0.5 * _RINGS).long().clamp(max=_RINGS - 1)
    count = torch.bincount(ring.flatten(), minlength=_RINGS).to(x)
    found = x.new_zeros(*x.shape[:2], _RINGS)
    for k in range(_PROBES):
        probe = signs(x, k)
        cross = (torch.fft.rfft2(probe).conj() * torch.fft.rfft2(weighted_normal(probe, pieces, variances))).real
        power = float(torch.fft.rfft2(probe[:1, :1]).abs().square().mean())
        found = found.index_add(2, ring.flatten(), cross.flatten(2) / power / _PROBES)
    return (found / count.clamp(min=1))[..., ring].clamp(min=0)


@torch.no_grad()
def expected_deviation(pieces: list[Measurement], level: Tensor, shape: torch.Size) -> Tensor:
    """Root mean square error that the best linear estimate is expected to leave in a scene of the typical spectrum, ``(B,)``.

    It is the root of the posterior variance of a Gaussian scene, averaged over frequencies, and has all that the measurement leaves open:
    noise that is amplified where the sensor passes little, and detail that it does not pass. Arguments are those of `gaussian_estimate`.
    """
    physics = pieces[0].physics
    if len(pieces) == 1 and isinstance(physics, SensorPhysics):
        levels = level.reshape(-1, 1, 1, 1).expand(-1, shape[1], 1, 1)
        variance = noise_variance(physics, levels.to(physics.psf)).mean((2, 3))
        return sensor_error(physics.psf, variance, level, physics.factor).sqrt().to(level)
    flat = level.reshape(-1, 1, 1, 1).expand(shape).contiguous()
    variances = [noise_variance(p.physics, p.physics.A(flat)) for p in pieces]
    precision = 1 / scene_spectrum(_radius(flat), level.reshape(-1, 1, 1, 1))
    open_variance = 1 / (_transfer(flat, pieces, variances) + precision)
    weight = torch.full_like(precision[:1, :1, :1], 2.0)  # columns of rfft2 that stand for two frequencies
    weight[..., 0] = 1
    if shape[-1] % 2 == 0:
        weight[..., -1] = 1
    mean = (open_variance * weight).sum((2, 3)) / (shape[2] * shape[3])
    return mean.mean(1).sqrt()


def sensor_deviation(physics: SensorPhysics, level: float, bands: int) -> float:
    """`expected_deviation` of a sensor's bands at a mean signal, before anything is measured."""
    nothing = physics.psf.new_zeros(0)
    shape = torch.Size((1, bands, 1, 1))
    return float(expected_deviation([Measurement(nothing, physics, None)], physics.psf.new_tensor([level]), shape))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def _contrast(residual: Tensor, gain: Tensor, spectrum: Tensor) -> Tensor:
    """Power of each item's scene relative to the typical one, ``(B, 1, 1, 1)``, from what the measurement adds to a flat scene.

    The power of ``A^T V^-1 (y - A m)`` is ``G + c G^2 P`` in a circulant model; a regression on ``G P``, weighted by its own scatter.
    """
    power = torch.fft.rfft2(residual).abs().square() / (residual.shape[-2] * residual.shape[-1])
    signal = gain * spectrum
    excess = power / gain.clamp(min=1e-6 * float(gain.max())) - 1
    contrast = torch.ones_like(residual[:, :1, :1, :1])
    for _ in range(4):
        weight = (gain > 0) / (1 + contrast * signal).square()
        weight = torch.where(spectrum < spectrum.amax((2, 3), keepdim=True), weight, 0.0)  # the mean is known
        total = (weight * signal.square()).sum((1, 2, 3), keepdim=True).clamp(min=1e-30)
        contrast = ((weight * signal * excess).sum((1, 2, 3), keepdim=True) / total).clamp(1 / 64, 64)
    return contrast


@torch.no_grad()
def gaussian_estimate(pieces: list[Measurement], level: Tensor, shape: torch.Size) -> Tensor:
    """Mean of the scenes given what was measured, were they Gaussian with the typical spectrum, their contrast fitted; ``(B, C, H, W)``.

    It solves ``(A^T V^-1 A + P^-1) x = A^T V^-1 (y - A m)`` with ``P`` circulant, a multiple of `scene_spectrum`, and ``m`` the mean signal
    ``level``, ``(B,)`` and above 0. The conjugate gradients are preconditioned by the circulant operator nearest to ``A^T V^-1 A``, which
    is found by probing.
    """
    flat = level.reshape(-1, 1, 1, 1).to(pieces[0].y).expand(shape).contiguous()  # see `signs`
    residual, variances = torch.zeros_like(flat), []
    for y, physics, mask in pieces:
        signal = physics.A(flat)
        variances.append(noise_variance(physics, signal))
        weighted = (y - signal) / variances[-1]
        residual = residual + physics.A_adjoint(weighted if mask is None else weighted * mask)
    gain = _transfer(flat, pieces, variances)
    spectrum = scene_spectrum(_radius(flat), level.reshape(-1, 1, 1, 1).to(flat))
    precision = 1 / (spectrum * _contrast(residual, gain, spectrum))
    preconditioner = 1 / (gain + precision)
    x = torch.zeros_like(flat)
    direction = step = _filtered(residual, preconditioner)
    product = _dot(residual, step)
    for _ in range(_ITERATIONS):
        moved = weighted_normal(direction, pieces, variances) + _filtered(direction, precision)
        length = product / _dot(direction, moved).clamp(min=1e-30)
        x, residual = x + length * direction, residual - length * moved
        step = _filtered(residual, preconditioner)
        product, before = _dot(residual, step), product
        direction = step + product / before.clamp(min=1e-30) * direction
    return flat + x
