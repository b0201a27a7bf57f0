"""Restoring with a learned regulariser: the minimiser of a sensor's likelihood plus the regulariser's energy."""

from __future__ import annotations

import math

import torch
from deepinv.models import Reconstructor
from deepinv.physics import LinearPhysics
from torch import Tensor
from torch.nn import functional as F

from imaging.bilevel.solvers import quasi_newton
from imaging.bilevel.zoo import LearnedRegularizer
from imaging.sensors import SensorPhysics
from imaging.sensors.variance import noise_variance

_RIDGE = 1e-4
"""Pull towards the first estimate, relative to the likelihood: decides what the sensor does not pass at all."""
_HEAVIEST = 4.0
"""Largest weight of a pixel, however dark: the result of a scene must not depend on what else is in its batch."""


class RegularizedReconstructor(Reconstructor):  # type: ignore[misc]
    r"""Minimiser of :math:`\tfrac12 \|Ax - y\|_w^2 + R_\sigma(x, \theta)` for any linear physics with Gaussian (approximate) noise.

    The weights w of the measured pixels are the mean noise variance over their own, and :math:`\sigma` is the root of that mean: the
    regulariser's weight follows from the noise alone. A point, no posterior: there is no standard deviation. A weakly convex regulariser
    makes a convex energy with the identity only; behind a blur it has several minima, and which of them is found depends on rounding, so
    that tiles may differ by some thousandths of the range.

    Parameters
    ----------
    learned : LearnedRegularizer
        Energy and parameters; of one channel, each band is restored by itself.
    accuracy : float
        Root mean square of the gradient a pixel at which the solve ends, relative to the noise.
    limit : int
        Gradients at most.
    """

    def __init__(self, learned: LearnedRegularizer, accuracy: float = 0.03, limit: int = 150) -> None:
        super().__init__()
        self.learned, self.accuracy, self.limit = learned, accuracy, limit
        self.register_buffer("theta", learned.theta)

    @torch.no_grad()
    def forward(self, y: Tensor, physics: LinearPhysics, *, mask: Tensor | None = None, level: float | None = None) -> Tensor:
        """Restore scenes.

        Parameters
        ----------
        y : Tensor
            ``(B, C, h, w)`` measurements, in image units.
        physics : LinearPhysics
            Operator of a norm of at most 1 and noise model.
        mask : Tensor, optional
            ``(B, C, h, w)``, one where a pixel is valid.
        level : float, optional
            Signal at which the regulariser takes the noise; the mean of the measurements by default.

        Returns
        -------
        Tensor
            ``(B, C, H, W)``, with the physics' margins.
        """
        signal = float(y.mean() if mask is None else (y * mask).sum() / mask.sum().clamp(min=1)) if level is None else level
        if mask is not None:  # what is not valid must not be seen, in whatever way
            y = torch.where(mask > 0, y, torch.full_like(y, signal))
        first = _first_estimate(y, physics)
        variance = noise_variance(physics, _smoothed(y))
        reference = noise_variance(physics, torch.full_like(y, signal)).mean()
        weight = (reference / variance).clamp(max=_HEAVIEST) * (1.0 if mask is None else mask)
        deviation = float(reference.sqrt())
        back = physics.A_adjoint(weight * y) + _RIDGE * first
        self.learned.regularizer.noise = deviation

        def slope(x: Tensor, rows: Tensor) -> Tensor:
            by_band = self.learned.regularizer.grad(x.flatten(0, 1)[:, None], self.theta).reshape(x.shape)
            found: Tensor = physics.A_adjoint(weight[rows] * physics.A(x)) - back[rows] + _RIDGE * x + by_band
            return found

        wanted = torch.full((len(y),), self.accuracy * deviation * math.sqrt(first[0].numel()), dtype=y.dtype, device=y.device)
        smoothness = _HEAVIEST + _RIDGE + self.learned.regularizer.curvature(self.theta)
        return quasi_newton(slope, first, wanted, smoothness, self.limit, 0.999).x


def _first_estimate(y: Tensor, physics: LinearPhysics) -> Tensor:
    """The measurement on the scene's grid, continued over the margins; of other physics the adjoint of the measurement."""
    if not isinstance(physics, SensorPhysics):
        found: Tensor = physics.A_adjoint(y)
        return found
    fine = y if physics.factor == 1 else F.interpolate(y, scale_factor=physics.factor, mode="bilinear", align_corners=False)
    return F.pad(fine, (physics.margin,) * 4, mode="replicate")


def _smoothed(y: Tensor) -> Tensor:
    """Signal that the noise of a pixel depends on: means over 5 x 5 pixels."""
    return F.avg_pool2d(F.pad(y, (2, 2, 2, 2), mode="replicate"), 5, 1)
