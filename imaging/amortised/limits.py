"""What a network knows: the ranges of the sensors and scenes that it was trained for, and how far something is outside of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imaging.amortised.features import CONTRASTS
from imaging.amortised.network import InferenceNetwork
from imaging.amortised.posterior import ImagePosterior
from imaging.amortised.reconstructor import AmortisedReconstructor
from imaging.filters import filled_holes
from imaging.priors.calibration import read_guarantee
from imaging.releases import read_recipe
from imaging.sensors.noise import SignalDependentNoise, noise_variance
from imaging.sensors.physics import SensorPhysics
from imaging.sensors.wiener import modulation, sensor_bank

QUANTITIES = {
    "mtf": "MTF at half of the Nyquist frequency", "snr": "signal-to-noise ratio at the mean signal",
    "contrast": "contrast relative to a typical scene's", "residual": "residual of a posterior draw over the noise",
}  # fmt: skip
"""What is looked at, with what each is called; all are compared as logarithms."""
_TAIL = 0.005
"""Share of the crops that lie outside a range on either side."""


class Excess(NamedTuple):
    """A quantity outside of its range.

    Attributes
    ----------
    name : str
        One of `QUANTITIES`.
    value, low, high : float
        What it is, and the range.
    """

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"its {QUANTITIES[self.name]} is {self.value:.3g}, known are {self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True)
class Limits:
    """Ranges of `QUANTITIES`, from a recipe's ``[limits]`` table; what is not in it is not limited.

    Attributes
    ----------
    ranges : dict
        From names to the least and the largest value.
    half_widths : dict
        Of intervals with a finite-sample guarantee, by level, in standard deviations.
    """

    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    half_widths: dict[float, float] = field(default_factory=dict)

    def distance(self, found: dict[str, list[float]]) -> float:
        """How far the most unusual quantity is outside, over the width of its range's logarithm; not above 0 inside."""
        distances = [-1.0]
        for name, values in found.items():
            if name in self.ranges:
                low, high = (math.log(v) for v in self.ranges[name])
                distances += [max(low - math.log(v), math.log(v) - high) / (high - low) for v in values]
        return max(distances)

    def exceeded(self, found: dict[str, list[float]]) -> list[Excess]:
        """What is outside, the furthest value of each quantity."""
        excesses = []
        for name, values in found.items():
            if name in self.ranges and self.distance({name: values}) > 0:
                furthest = max((self.distance({name: [v]}), v) for v in values)[1]
                excesses.append(Excess(name, furthest, *self.ranges[name]))
        return excesses


def load_limits(folder: Path) -> Limits:
    """Limits of a released network.

    Raises
    ------
    InputError
        For a table that holds no ranges.
    """
    recipe = read_recipe(folder)
    table, ranges = recipe.under("limits"), {}
    for name in QUANTITIES:
        if name in table.values:
            ranges[name] = low, high = table.get(name, tuple[float, float])
            if not 0 < low < high:
                table.refuse(name, "two positive numbers in ascending order")
    guarantee = read_guarantee(recipe)
    return Limits(ranges, {} if guarantee is None else guarantee.half_widths)


def sensor_quantities(physics: SensorPhysics, level: Tensor, channels: int) -> dict[str, list[float]]:
    """The quantities of a sensor at a mean signal ``(B,)``: the MTF for each item, band and axis, the SNR for each item and band."""
    levels = level.reshape(-1, 1, 1, 1).expand(-1, channels, 1, 1).to(physics.psf)
    ratio = levels / noise_variance(physics, levels).mean((2, 3), keepdim=True).sqrt()
    contrast = modulation(physics.psf, (0.25 / physics.factor,))
    return {"mtf": contrast.clamp(min=1e-6).flatten().tolist(), "snr": ratio.flatten().tolist()}


@torch.no_grad()
def scene_quantities(posterior: ImagePosterior, y: Tensor, physics: SensorPhysics, mask: Tensor, level: Tensor) -> dict[str, list[float]]:
    """What a scene is, for each item and band: its mean contrast, and how well a draw of its posterior explains what was measured.

    Parameters
    ----------
    posterior : ImagePosterior
        Of the pass, without margins.
    y, mask : Tensor
        ``(B, C, h, w)`` measurement, and one where it is valid.
    physics : SensorPhysics
        That was told.
    level : Tensor
        ``(B,)`` mean signal that was told.
    """
    place = sensor_bank(physics, y, level, CONTRASTS).position(filled_holes(y, mask, level.reshape(-1, 1, 1, 1)))
    inner = physics.margin // physics.factor
    cut = (..., slice(inner, y.shape[2] - inner), slice(inner, y.shape[3] - inner))
    y, mask = y[cut], mask[cut]
    signal = physics.A(posterior.sample(1)[0])
    power = (y - signal).square() / noise_variance(physics, signal)
    residual = (power * mask).sum((2, 3)) / mask.expand_as(y).sum((2, 3)).clamp(min=1)
    contrast = CONTRASTS[0] * 4.0 ** place.mean((2, 3))
    return {"contrast": contrast.flatten().tolist(), "residual": residual.clamp(min=1e-6).flatten().tolist()}


def physics_of(batch: dict[str, Tensor]) -> SensorPhysics:
    """The sensors of a batch of `imaging.amortised.training.Batches`."""
    factor = batch["truth"].shape[-1] // batch["y"].shape[-1]
    return SensorPhysics(batch["psf"], SignalDependentNoise(batch["sigma0"], batch["gain"]), factor=factor)


@torch.no_grad()
def find_limits(network: InferenceNetwork, batches: Iterable[dict[str, Tensor]]) -> dict[str, tuple[float, float]]:
    """Ranges of `QUANTITIES` over training crops and their sensors, without the outermost half percent on either side."""
    model, found = AmortisedReconstructor(network), dict[str, list[float]]()
    for batch in batches:
        physics = physics_of(batch)
        parts = [sensor_quantities(physics, batch["level"], batch["y"].shape[1])]
        posterior = model.fit(batch["y"], physics, mask=batch["mask"], level=batch["level"], margins=False)
        parts.append(scene_quantities(posterior, batch["y"], physics, batch["mask"], batch["level"]))
        for part in parts:
            for name, values in part.items():
                found.setdefault(name, []).extend(values)
    return {k: (float(np.quantile(v, _TAIL)), float(np.quantile(v, 1 - _TAIL))) for k, v in found.items()}
