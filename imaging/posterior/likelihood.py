"""Likelihood of a measurement, taken from the physics' own noise model."""

from __future__ import annotations

import math
from typing import Any

import torch
from deepinv.optim import DataFidelity
from deepinv.physics import GaussianNoise, Physics, PoissonGaussianNoise
from torch import Tensor

from imaging.sensors.noise import SignalDependentNoise

_LEAST_DEVIATION = 1e-4  # a noise-free measurement is taken as known to this much of the range


def _per_item(value: Any, like: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return tensor.reshape(-1, 1, 1, 1)


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
        variance = _per_item(model.sigma, signal) ** 2 + _per_item(model.gain, signal) * signal.clamp(min=0)
    elif isinstance(model, GaussianNoise):
        variance = (_per_item(model.sigma, signal) ** 2).expand_as(signal)
    else:
        raise TypeError(
            f"noise model is {type(model).__name__}; accepted are SignalDependentNoise, GaussianNoise and PoissonGaussianNoise, "
            "set one with physics.set_noise_model"
        )
    return variance.clamp(min=_LEAST_DEVIATION**2)


class SensorLikelihood(DataFidelity):  # type: ignore[misc]
    r"""Negative log-likelihood of Gaussian noise whose variance follows the signal, log-determinant included.

    .. math:: \sum_i m_i\left[\frac{(y_i - (Ax)_i)^2}{2 v_i} + \tfrac12\log(2\pi v_i)\right],\quad v_i = \sigma_0^2 + K (Ax)_i

    Each item gives one value in nats. Without the log-determinant a signal-dependent variance would reward bright restorations.
    """

    def fn(self, x: Tensor, y: Tensor, physics: Physics, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Nats of each item, ``(B,)``.

        Parameters
        ----------
        x, y : Tensor
            Scene and measurement, ``(B, C, H, W)``.
        physics : deepinv Physics
            Operator and noise model.
        mask : Tensor, optional
            One where the measurement is valid, broadcastable to ``y``; masked values of ``y`` may be anything finite.
        """
        signal = physics.A(x)
        variance = noise_variance(physics, signal)
        nats = (y - signal).square() / (2 * variance) + 0.5 * torch.log(variance) + 0.5 * math.log(2 * math.pi)
        if mask is not None:
            nats = nats * mask
        total: Tensor = nats.sum((1, 2, 3))
        return total

    @torch.enable_grad()
    def grad(self, x: Tensor, y: Tensor, physics: Physics, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Gradient of `fn` with respect to the scene, ``(B, C, H, W)``; deepinv's own asks for a distance that does not know the signal."""
        x = x.detach().requires_grad_()
        gradient: Tensor = torch.autograd.grad(self.fn(x, y, physics, mask=mask).sum(), x)[0]
        return gradient
