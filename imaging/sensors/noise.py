"""Signal-dependent noise: the affine variance model, as a deepinv noise model, and the variance of other models' noise."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import GaussianNoise, Physics, PoissonGaussianNoise, PoissonNoise
from deepinv.physics.noise import NoiseModel
from torch import Tensor

_LEAST_DEVIATION = 1e-4  # a noise-free measurement is taken as known to this much of the range


class SignalDependentNoise(NoiseModel):  # type: ignore[misc]
    r"""Gaussian noise with variance :math:`\sigma_0^2 + K\,(Hx)`, per band.

    The high-count approximation of Poisson-Gaussian noise. deepinv's own noise models take one value per batch item, never per band.

    Parameters
    ----------
    sigma0 : Tensor
        ``(C,)``, ``(B, C)`` or a map ``(1 or B, C, H, W)``: standard deviation at zero signal, in image units.
    gain : Tensor
        Likewise: slope of the variance with the signal, in image units.
    rng : torch.Generator, optional
        Source of randomness.
    """

    sigma0: Tensor
    gain: Tensor

    def __init__(self, sigma0: Tensor, gain: Tensor, rng: torch.Generator | None = None) -> None:
        super().__init__(rng=rng)
        if bool((sigma0 < 0).any()) or bool((gain < 0).any()):
            raise ValueError("sigma0 and gain must not be negative")
        for name, value in (("sigma0", sigma0), ("gain", gain)):
            if value.ndim not in {1, 2, 4}:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected (C,), (B, C) or (B, C, H, W)")
            self.register_buffer(name, (value if value.ndim == 4 else value.reshape(-1, value.shape[-1], 1, 1)).float())

    def variance(self, signal: Tensor) -> Tensor:
        """Noise variance at a signal ``(B, C, H, W)``; negative signal counts as none."""
        return self.sigma0.to(signal) ** 2 + self.gain.to(signal) * signal.clamp(min=0)

    def forward(self, x: Tensor, seed: int | None = None, **kwargs: Any) -> Tensor:
        """Add noise to a noise-free measurement ``(B, C, H, W)``; a ``seed`` makes this draw repeatable whatever ``rng`` is."""
        if seed is None:
            noise = self.randn_like(x)
        else:
            noise = torch.randn(x.shape, generator=torch.Generator(x.device).manual_seed(seed), dtype=x.dtype, device=x.device)
        noisy: Tensor = x + self.variance(x).sqrt() * noise
        return noisy


def _parameter(value: Any, like: Tensor) -> Tensor:
    """A parameter of deepinv's noise models: one number for all or for each item, or a map that can be broadcast."""
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return tensor if tensor.ndim == 4 else tensor.reshape(-1, 1, 1, 1)


def noise_variance(physics: Physics, signal: Tensor) -> Tensor:
    """Variance of the noise at a noise-free signal ``(B, C, H, W)``, differentiable.

    `TypeError` for a noise model without a Gaussian (approximate) likelihood.
    """
    model = physics.noise_model
    if isinstance(model, SignalDependentNoise):
        variance = model.variance(signal)
    elif isinstance(model, PoissonGaussianNoise):
        variance = _parameter(model.sigma, signal) ** 2 + _parameter(model.gain, signal) * signal.clamp(min=0)
    elif isinstance(model, PoissonNoise) and bool(model.normalize):
        variance = _parameter(model.gain, signal) * signal.clamp(min=0)
    elif isinstance(model, GaussianNoise):
        variance = (_parameter(model.sigma, signal) ** 2).expand_as(signal)
    else:
        raise TypeError(
            f"noise model is {type(model).__name__}; accepted are SignalDependentNoise, GaussianNoise, PoissonGaussianNoise and "
            "normalised PoissonNoise, set one with physics.set_noise_model"
        )
    return variance.clamp(min=_LEAST_DEVIATION**2)


def items(physics: Physics) -> int:
    """Number of scenes of a batch that have a kernel or a noise of their own in a physics; 1 where all share them."""
    kernel = getattr(physics, "psf", None)
    buffers = list(physics.noise_model.buffers())
    return max([1 if kernel is None else len(kernel), *(len(b) if b.ndim == 4 else b.numel() for b in buffers)])
