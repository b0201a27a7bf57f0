"""Variance of the noise that a deepinv physics adds."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import GaussianNoise, Physics, PoissonGaussianNoise, PoissonNoise
from torch import Tensor

from imaging.sensors.noise import SignalDependentNoise

_LEAST_DEVIATION = 1e-4  # a noise-free measurement is taken as known to this much of the range


def _spread(value: Any, like: Tensor) -> Tensor:
    """A parameter of deepinv's noise models: one number for all or for each item, or a map that can be broadcast."""
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return tensor if tensor.ndim == 4 else tensor.reshape(-1, 1, 1, 1)


def noise_variance(physics: Physics, signal: Tensor) -> Tensor:
    """Variance of the noise at a noise-free signal ``(B, C, H, W)``, differentiable.

    Raises
    ------
    TypeError
        For a noise model without a Gaussian (approximate) likelihood.
    """
    model = physics.noise_model
    if isinstance(model, SignalDependentNoise):
        variance = model.variance(signal)
    elif isinstance(model, PoissonGaussianNoise):
        variance = _spread(model.sigma, signal) ** 2 + _spread(model.gain, signal) * signal.clamp(min=0)
    elif isinstance(model, PoissonNoise) and bool(model.normalize):
        variance = _spread(model.gain, signal) * signal.clamp(min=0)
    elif isinstance(model, GaussianNoise):
        variance = (_spread(model.sigma, signal) ** 2).expand_as(signal)
    else:
        raise TypeError(
            f"noise model is {type(model).__name__}; accepted are SignalDependentNoise, GaussianNoise, PoissonGaussianNoise and "
            "normalised PoissonNoise, set one with physics.set_noise_model"
        )
    return variance.clamp(min=_LEAST_DEVIATION**2)


def items(physics: Physics) -> int:
    """How many scenes of a batch the kernel and the noise of a physics are told apart for; 1 where all share them."""
    kernel = getattr(physics, "psf", None)
    buffers = list(physics.noise_model.buffers())
    return max([1 if kernel is None else len(kernel), *(len(b) if b.ndim == 4 else b.numel() for b in buffers)])
