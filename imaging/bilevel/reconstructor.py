"""Restoring with a learned regulariser: the minimiser of a sensor's likelihood plus the regulariser's energy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from deepinv.models import Reconstructor
from deepinv.physics import LinearPhysics
from torch import Tensor
from torch.nn import functional as F

from imaging.bilevel.solvers import Slope, momentum_of
from imaging.bilevel.zoo import LearnedRegularizer
from imaging.filters import box_mean
from imaging.sensors import SensorPhysics
from imaging.sensors.noise import noise_variance
from imaging.sensors.wiener import local_contrast

_NEIGHBOURHOOD = 5
"""Side of the square over which the signal that the noise of a pixel depends on is averaged."""
_RIDGE = 1e-4
"""Pull towards the first estimate, relative to the likelihood: decides what the sensor does not pass at all."""
_SLOW = 0.02
"""Curvature that the momentum of steps of one length is made for; what is flatter converges no faster."""
_HEAVIEST = 4.0
"""Largest weight of a pixel, however dark: the result of a scene must not depend on what else is in its batch."""
_CONTRASTS = 1 / 4, 16.0
"""Contrasts that weights still follow."""
_AROUND = 33
"""Side of the square over which contrasts are averaged, pixels of the measurement."""
_HIDDEN = 0.2
"""Power of a scene of the typical contrast, relative to the noise's, that contrasts are known with."""
_DARKEST = 1e-3
"""Signal that contrasts are relative to at least."""


class RegularizedReconstructor(Reconstructor):  # type: ignore[misc]
    r"""Minimiser of :math:`\tfrac12 \|Ax - y\|_w^2 + R_\sigma(x, \theta)` for any linear physics with Gaussian (approximate) noise.

    The weights w of the measured pixels are the mean noise variance over their own, and :math:`\sigma` is the root of that mean. Both are
    then adapted by `LearnedRegularizer`'s powers: the weight of the regulariser to the share of white power that the sensor passes, those
    of the pixels to the contrast of the scene around them, where the physics is a `SensorPhysics`. A point, no posterior: there is no
    standard deviation. A weakly convex regulariser makes a convex energy with the identity only. Behind a blur what is found is close to a
    stationary point near the measurement, of which nothing certifies that no other minimum is lower.

    Parameters
    ----------
    learned : LearnedRegularizer
        Energy and parameters; of one channel, each band is restored by itself.
    weight : float, optional
        Factor on the regulariser's weight, which follows from sensor, noise and contrast; 1 by default.
    steps : int
        Accelerated gradient steps. Their length and number are fixed and not where a solver stops, so that what becomes of a pixel depends
        on pixels nearby alone, also among several minima: scenes can be cut into tiles.
    """

    steps: int = 60

    def __init__(self, learned: LearnedRegularizer, weight: float | None = None, steps: int | None = None) -> None:
        super().__init__()
        self.learned, self.weight, self.steps = learned, 1.0 if weight is None else weight, steps or self.steps
        self.register_buffer("theta", learned.theta)

    @torch.no_grad()
    def forward(
        self, y: Tensor, physics: LinearPhysics, *, mask: Tensor | None = None, level: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:  # fmt: skip
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
        progress : callable, optional
            Called with the number of gradients so far.

        Returns
        -------
        Tensor
            ``(B, C, H, W)``, with the physics' margins.
        """
        signal = float(y.mean() if mask is None else (y * mask).sum() / mask.sum().clamp(min=1)) if level is None else level
        if mask is not None:  # what is not valid must not be seen, in whatever way
            y = torch.where(mask > 0, y, torch.full_like(y, signal))
        first = _first_estimate(y, physics)
        variance = noise_variance(physics, box_mean(y, _NEIGHBOURHOOD, at_once=True))
        reference = noise_variance(physics, torch.full_like(y, signal)).mean()
        adapted = reference / variance * _contrast(y, physics, reference, signal, mask) ** self.learned.contrast
        weight = adapted.clamp(max=_HEAVIEST) * (1.0 if mask is None else mask)
        strength = self.weight * self.learned.weight * passed(physics, first) ** self.learned.response
        deviation = float(reference.sqrt())
        back = physics.A_adjoint(weight * y) + _RIDGE * first
        self.learned.regularizer.noise = deviation

        taken = 0

        def slope(x: Tensor, rows: Tensor) -> Tensor:
            nonlocal taken
            taken += 1
            if progress is not None:
                progress(taken)
            by_band = self.learned.regularizer.grad(x.flatten(0, 1)[:, None], self.theta).reshape(x.shape)
            found: Tensor = physics.A_adjoint(weight[rows] * physics.A(x)) - back[rows] + _RIDGE * x + strength * by_band
            return found

        smoothness = _HEAVIEST + _RIDGE + strength * self.learned.regularizer.curvature(self.theta)
        return _steps(slope, first, smoothness, self.steps)


def _steps(slope: Slope, x: Tensor, smoothness: float, count: int) -> Tensor:
    """Accelerated steps of one length (Nesterov 2004, 2.2.22)."""
    factor, rows, z = momentum_of(_SLOW, smoothness), torch.arange(len(x), device=x.device), x
    for _ in range(count):
        following = z - slope(z, rows) / smoothness
        x, z = following, following + factor * (following - x)
    return x


def _first_estimate(y: Tensor, physics: LinearPhysics) -> Tensor:
    """The measurement on the scene's grid, continued over the margins; of other physics the adjoint of the measurement."""
    if not isinstance(physics, SensorPhysics):
        found: Tensor = physics.A_adjoint(y)
        return found
    fine = y if physics.factor == 1 else F.interpolate(y, scale_factor=physics.factor, mode="bilinear", align_corners=False)
    return F.pad(fine, (physics.margin,) * 4, mode="replicate")


def passed(physics: LinearPhysics, x: Tensor) -> float:
    """Share of the power of white scenes of the shape of ``x`` that is measured, per pixel of the scene: 1 of the identity."""
    if isinstance(physics, SensorPhysics):
        return float(physics.psf.square().sum((2, 3)).mean()) / physics.factor**2
    signs = torch.randint(2, x.shape, generator=torch.Generator().manual_seed(0)).to(x) * 2 - 1
    return float(physics.A(signs).square().sum() / signs.numel())


def _contrast(y: Tensor, physics: LinearPhysics, variance: Tensor, signal: float, mask: Tensor | None) -> Tensor:
    """Power of the scene around each pixel of the measurement relative to the typical one, within `_CONTRASTS`.

    Where the noise hides the scene's detail it is drawn towards the typical one.
    """
    if not isinstance(physics, SensorPhysics):
        return torch.ones_like(y)
    level, variances = torch.full_like(y[:, 0, 0, 0], max(signal, _DARKEST)), variance.expand(y.shape[:2])
    found = local_contrast(y, physics.psf, variances, level, physics.factor, mask)
    hidden = -_HIDDEN * local_contrast(torch.zeros_like(y[..., :1, :1]), physics.psf, variances, level, physics.factor)
    return ((box_mean(found, _AROUND) + hidden) / (1 + hidden)).clamp(*_CONTRASTS)
