"""The pass as a deepinv reconstructor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.physics import Physics
from torch import Tensor
from torch.nn import functional as F

from imaging.amortised.correlation import error_field, place_of
from imaging.amortised.features import CONTRASTS, make_features
from imaging.amortised.network import InferenceNetwork
from imaging.amortised.posterior import ImagePosterior
from imaging.filters import box_mean
from imaging.sensors.physics import SensorPhysics
from imaging.sensors.wiener import repeated, sensor_bank

_SIDE = 9
"""Of the squares over which an image is made consistent, twice, pixels of the measurement."""
_LEAST_SHARE = 0.25
ORIENTATIONS = (1, 2, 4)
DEFAULT_ORIENTATIONS = 2
"""Twice the network's work for 0.08 dB; four times for another 0.03."""


def _twice_averaged(x: Tensor) -> Tensor:
    return box_mean(box_mean(x, _SIDE), _SIDE)


def consistent(image: Tensor, y: Tensor, physics: SensorPhysics, valid: Tensor) -> Tensor:
    """An image whose local means are those that were measured.

    Low frequencies are known to a fraction of the noise; what the image, measured again, lacks of them is added: the residual, averaged
    twice over squares. The image is ``(B, C, s h, s w)`` without margins; ``y`` and ``valid``, one where ``y`` is valid, are
    ``(B, C, h, w)``.
    """
    seen = physics.A(F.pad(image, (physics.margin,) * 4, mode="replicate"))
    lacking = _twice_averaged((y - seen) * valid)
    if not bool((valid > 0).all()):
        lacking = lacking / _twice_averaged(valid).clamp(min=_LEAST_SHARE)
    return image + repeated(lacking, physics.factor)


class AmortisedReconstructor(Reconstructor):  # type: ignore[misc]
    """Posterior of a scene in one pass of a network that is told the sensor.

    Parameters
    ----------
    network : InferenceNetwork
        See `imaging.amortised.load_network`.
    precision : {"float32", "bfloat16"}
        Of the network. In bfloat16 two tile plans no longer agree to a thousandth of the deviation.
    orientations : {2, 1, 4}
        Ways in which the scene is turned over for the network, whose results are averaged.

    References
    ----------
    Neural posterior estimation with the sensor as a condition: K. Cranmer, J. Brehmer, G. Louppe, "The frontier of simulation-based
    inference", PNAS 117(48), 2020.
    """

    def __init__(
        self, network: InferenceNetwork, precision: str = "float32", orientations: int = DEFAULT_ORIENTATIONS
    ) -> None:  # fmt: skip
        super().__init__()
        if precision not in {"float32", "bfloat16"}:
            raise ValueError(f"precision is {precision!r}; accepted are float32, bfloat16")
        if orientations not in ORIENTATIONS:
            raise ValueError(f"orientations is {orientations}; accepted are {', '.join(map(str, ORIENTATIONS))}")
        self.network, self.precision, self.orientations = network, precision, orientations

    @torch.no_grad()
    def fit(
        self, y: Tensor, physics: Physics, *, mask: Tensor | None = None, level: float | Tensor | None = None,
        origins: Sequence[tuple[int, int]] | None = None, margins: bool = True, seed: int = 0,
    ) -> ImagePosterior:  # fmt: skip
        """Posterior of a batch of measurements; nothing is kept on the object.

        Parameters
        ----------
        y : Tensor
            ``(B, C, h, w)`` measurement, image units.
        physics : SensorPhysics
            Kernel, sampling and noise, which may differ between the items.
        mask : Tensor, optional
            One where ``y`` is valid, broadcastable to it; what is not gets what its surroundings say.
        level : float or (B,) Tensor, optional
            Mean signal of the scenes; by default of each item.
        origins : sequence of (int, int), optional
            Absolute row and column of each item's first scene pixel, multiples of 8: what samples depend on.
        margins : bool
            Whether the posterior extends over the unmeasured pixels around the scene that ``physics`` has.
        seed : int
            Of the samples.

        Raises
        ------
        TypeError
            For other physics than a sensor's.
        ValueError
            When the bands are not the network's.
        """
        if not isinstance(physics, SensorPhysics):
            raise TypeError(f"the physics is {type(physics).__name__}; a pass needs a SensorPhysics, other operators a fit such as VBLE")
        if y.shape[1] != self.network.settings.channels:
            raise ValueError(f"the measurement has {y.shape[1]} bands, the network {self.network.settings.channels}")
        valid = torch.ones_like(y) if mask is None else (mask > 0).to(y).expand_as(y)
        if level is None:
            level = (y * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)
        levels = torch.as_tensor(level, dtype=y.dtype, device=y.device).reshape(-1).expand(len(y)).clamp(min=1e-3)
        corner = [(0, 0)] * len(y) if origins is None else list(origins)
        if margins and physics.margin:
            m = physics.margin // physics.factor
            y, valid = (F.pad(v, (m,) * 4) for v in (y, valid))
            corner = [(row - physics.margin, column - physics.margin) for row, column in corner]
        bank = sensor_bank(physics, y, levels, CONTRASTS)
        features = make_features(y, physics, levels, None if bool((valid > 0).all()) else valid, bank)
        with torch.autocast(y.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            change, spread = self.network(features.stack, self.orientations)
        estimate, unit = features.estimate, features.unit
        del features  # the stack is most of what a pass holds
        image = consistent(estimate + change * unit, y, physics, valid)
        deviation = spread * unit
        return ImagePosterior(image, deviation, error_field(bank, place_of(bank.errors(), deviation)), corner, seed)

    @torch.no_grad()
    def each_band(self, y: Tensor, physics: SensorPhysics, *, mask: Tensor | None = None, level: float | Tensor | None = None) -> Tensor:
        """Posterior mean with margins, ``(B, C, H, W)``, of a measurement whose bands a network of one band takes one by one."""
        parts = []
        for k in range(y.shape[1]):
            valid = None if mask is None else mask.expand_as(y)[:, k : k + 1]
            parts.append(self.fit(y[:, k : k + 1], physics.band(k), mask=valid, level=level).image)
        return torch.cat(parts, 1)

    def sample(self, y: Tensor, physics: Physics, n: int = 1, *, seed: int = 0) -> Tensor:
        """``n`` posterior samples ``(n, B, C, H, W)``."""
        return self.fit(y, physics, seed=seed).sample(n)

    def forward(self, y: Tensor, physics: Physics, **kwargs: Any) -> Tensor:
        """Posterior mean, the shape of the scene; usable under ``deepinv.test``."""
        return self.fit(y, physics, **kwargs).image
