"""Training of an inference network: sensors drawn for each crop, squared error and likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from imaging.amortised.features import Features, make_features
from imaging.amortised.limits import physics_of
from imaging.amortised.losses import LIKELIHOOD, posterior_loss, relative_error
from imaging.amortised.network import InferenceNetwork
from imaging.amortised.optimizer import Muon
from imaging.amortised.sensors import Measured, SensorRanges, measure
from imaging.sensors.wiener import repeated
from imaging.training import CropSampler, InterruptibleTraining, TrainingSettings, full_scale

_BORDER = 8
"""Measured pixels at the edge of a crop that do not count."""
_ADAM = 0.5
"""Adam's learning rate over that of the orthogonalised steps."""
_ENDS = ("change.", "spread.1.")
"""Layers whose output is an image: trained by Adam."""
_Q90 = 1.6448536


def samplers_of(
    images: Sequence[np.ndarray[Any, Any]], settings: TrainingSettings, channels: int, ranges: SensorRanges
) -> dict[int, CropSampler]:  # fmt: skip
    """Sources of crops for each sampling; images are ``(bands, H, W)``, see `imaging.training.find_images`."""
    return {f: CropSampler(images, crops_of(settings, f), channels) for f in ((1, 2) if ranges.double else (1,))}


def crops_of(settings: TrainingSettings, factor: int) -> TrainingSettings:
    """Crops of batches at a sampling: at twice the grid half as many, of one and a half times the side."""
    if factor == 1:
        return settings
    return replace(settings, batch=max(1, settings.batch // 2), crop=settings.crop * 3 // 2 // 32 * 32)


def _tensors(m: Measured, featured: bool) -> dict[str, Tensor]:
    noise = m.physics.noise_model
    found = {"truth": m.truth, "y": m.y, "mask": m.mask, "level": m.level, "psf": m.physics.psf, "sigma0": noise.sigma0, "gain": noise.gain}
    if featured:
        features = make_features(m.y, m.physics, m.level, m.mask)
        found |= {"estimate": features.estimate, "unit": features.unit, "stack": features.stack.bfloat16()}
    return found


@dataclass(frozen=True)
class Batches(Dataset[dict[str, Tensor]]):
    """The batch of each step, a function of seed and step alone.

    ``samplers`` has a source of crops for each sampling. If ``featured``, the features are made here, otherwise where the network runs.
    """

    samplers: dict[int, CropSampler]
    ranges: SensorRanges
    seed: int
    featured: bool

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        factor = 2 if rng.random() < self.ranges.double else 1
        with torch.no_grad():
            return _tensors(measure(self.samplers[factor].batch(rng), self.ranges, rng, factor), self.featured)


def sampling(batch: dict[str, Tensor]) -> int:
    """Pixels of the scene to one of the mask along each side."""
    return batch["truth"].shape[-1] // batch["mask"].shape[-1]


def features_of(batch: dict[str, Tensor]) -> Features:
    """Features of a batch, made now where they were not before."""
    if "stack" in batch:
        return Features(batch["estimate"], batch["unit"], batch["stack"])
    with torch.no_grad():
        return make_features(batch["y"], physics_of(batch), batch["level"], batch["mask"])


class Trainer(InterruptibleTraining):
    """Trains an inference network in place.

    ``source`` has the batch of each step, and ``validation`` some batches, as `Batches` and `validation_batches` make them, or with their
    features. All else is as in `InterruptibleTraining`.
    """

    def __init__(
        self, network: InferenceNetwork, source: Dataset[dict[str, Tensor]], validation: list[dict[str, Tensor]],
        settings: TrainingSettings, folder: Path, device: torch.device, makers: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(network, settings, source, folder, device, makers)
        self.validation = validation
        ends = [p for n, p in network.named_parameters() if p.ndim != 4 or n.startswith(_ENDS)]
        held = {id(p) for p in ends}
        self.parameters = list(network.parameters())
        inner = [p for p in self.parameters if id(p) not in held]
        self.optimizers = [
            Muon([{"params": inner, "factor": 1.0}], settings.learning_rate),
            torch.optim.Adam([{"params": ends, "factor": _ADAM}], _ADAM * settings.learning_rate, betas=(0.9, 0.99)),
        ]

    def decline(self) -> float:
        """A straight line to nearly zero."""
        return max(0.0, 1 - self.progress) + 0.002

    def _losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Features]:
        features = features_of(batch)
        factor = sampling(batch)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            change, spread = self.model(features.stack)
        mask = repeated(batch["mask"], factor)
        fidelity, nats = posterior_loss(change, spread, features.estimate, features.unit, batch["truth"], mask, factor * _BORDER)
        return fidelity, nats, change, spread, features

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step."""
        fidelity, nats, *_ = self._losses(batch)
        self.descend(fidelity + LIKELIHOOD * nats)
        return {"fidelity": fidelity.detach(), "nats": nats.detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Gain over the linear estimate in dB, likelihood, coverage of 90 % intervals, means over validation scenes, each sampling."""
        found: dict[str, list[list[float]]] = {}
        for batch in self.validation:
            batch = {k: v.to(self.device) for k, v in batch.items()}
            factor = sampling(batch)
            _, nats, change, spread, features = self._losses(batch)
            cut = (..., slice(factor * _BORDER, -factor * _BORDER), slice(factor * _BORDER, -factor * _BORDER))
            linear = (features.estimate - batch["truth"])[cut]
            unit, scaled = features.unit[cut], change[cut]
            error = linear + scaled * unit
            one = torch.ones_like(error)
            gain = 10 * (relative_error(linear, unit, one) / relative_error(error, unit, one)).log10().mean()
            covered = (error.abs() < _Q90 * spread[cut] * unit).float().mean()
            found.setdefault("" if factor == 1 else "_double", []).append([float(gain), float(nats), float(covered)])
        names = ("gain", "nll", "coverage")
        return {f"{n}{f}": float(np.mean([r[k] for r in rows])) for f, rows in found.items() for k, n in enumerate(names)}


def validation_batches(
    images: Sequence[np.ndarray[Any, Any]], channels: int, ranges: SensorRanges, side: int = 256
) -> list[dict[str, Tensor]]:
    """Middles of validation images, each measured by two drawn sensors, at the scene's grid and at half of it; always the same.

    Images are ``(bands, H, W)``; for one channel the mean of the bands is taken. The middles have ``side`` x ``side`` pixels, of which none
    is invalid or saturated.
    """
    plain = replace(ranges, holes=0.0, saturated=0.0, level_spread=0.0)
    found = []
    for k, image in enumerate(images):
        row, column = ((n - side) // 2 for n in image.shape[1:])
        pixels = image[:, row : row + side, column : column + side].astype(np.float32) / full_scale(image)
        scene = pixels.mean(0, keepdims=True) if channels == 1 else pixels[:channels]
        pair = torch.from_numpy(np.stack([scene, scene]))
        for factor in (1, 2) if ranges.double else (1,):
            found.append(_tensors(measure(pair, plain, np.random.default_rng([77, k]), factor), False))
    return found
