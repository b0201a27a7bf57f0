"""Likelihood of a measurement, taken from the physics' own noise model."""

from __future__ import annotations

import math
from typing import Any

import torch
from deepinv.optim import DataFidelity
from deepinv.physics import Physics
from torch import Tensor

from imaging.posterior.measurement import Mask, Measured, Measurement, measurements
from imaging.sensors.noise import noise_variance


class SensorLikelihood(DataFidelity):  # type: ignore[misc]
    r"""Negative log-likelihood of Gaussian noise whose variance follows the signal, log-determinant included.

    .. math:: \sum_i m_i\left[\frac{(y_i - (Ax)_i)^2}{2 v_i} + \tfrac12\log(2\pi v_i)\right],\quad v_i = \sigma_0^2 + K (Ax)_i

    Each item gives one value in nats. Without the log-determinant a signal-dependent variance would reward bright restorations.
    """

    def fn(self, x: Tensor, y: Measured, physics: Physics, *args: Any, mask: Mask = None, **kwargs: Any) -> Tensor:
        """Nats of each item, ``(B,)``.

        Parameters
        ----------
        x : Tensor
            Scene, ``(B, C, H, W)``.
        y : Tensor or TensorList
            Measurement ``(B, C, h, w)``, or those of a stacked physics.
        physics : deepinv Physics
            Operator and noise model.
        mask : Tensor or TensorList, optional
            One where the measurement is valid, broadcastable to ``y``; masked values of ``y`` may be anything finite.
        """
        return self.nats(x, measurements(y, physics, mask))

    @staticmethod
    def nats(x: Tensor, pieces: list[Measurement]) -> Tensor:
        """`fn` of measurements taken apart."""
        total = x.new_zeros(len(x))
        for y, physics, mask in pieces:
            signal = physics.A(x)
            variance = noise_variance(physics, signal)
            nats = (y - signal).square() / (2 * variance) + 0.5 * torch.log(variance) + 0.5 * math.log(2 * math.pi)
            total = total + (nats if mask is None else nats * mask).sum((1, 2, 3))
        return total

    @torch.enable_grad()
    def grad(self, x: Tensor, y: Measured, physics: Physics, *args: Any, mask: Mask = None, **kwargs: Any) -> Tensor:
        """Gradient of `fn` with respect to the scene, ``(B, C, H, W)``; deepinv's own asks for a distance that does not know the signal."""
        x = x.detach().requires_grad_()
        gradient: Tensor = torch.autograd.grad(self.fn(x, y, physics, mask=mask).sum(), x)[0]
        return gradient
