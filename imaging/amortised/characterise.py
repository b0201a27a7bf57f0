"""What is measured of a trained network on training crops: the ranges that it knows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from imaging.amortised.limits import scene_quantities, sensor_quantities
from imaging.amortised.network import InferenceNetwork
from imaging.amortised.reconstructor import AmortisedReconstructor
from imaging.sensors.noise import SignalDependentNoise
from imaging.sensors.physics import SensorPhysics

_TAIL = 0.005
"""Share of the crops that lie outside a range on either side."""


def physics_of(batch: dict[str, Tensor]) -> SensorPhysics:
    """The sensors of a batch of `imaging.amortised.training.Batches`."""
    factor = batch["truth"].shape[-1] // batch["y"].shape[-1]
    return SensorPhysics(batch["psf"], SignalDependentNoise(batch["sigma0"], batch["gain"]), factor=factor)


@torch.no_grad()
def find_limits(network: InferenceNetwork, batches: Iterable[dict[str, Tensor]]) -> dict[str, tuple[float, float]]:
    """Ranges of `imaging.amortised.limits.QUANTITIES` over training crops and their sensors, all but some outermost crops."""
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
