"""Bundles of the benchmarks: a panchromatic band and four coarser ones, as simulated sensors see a scene, and what methods are told.

By Wald's protocol the truth is known on the panchromatic grid. What is told may be wrong, in some cases on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from deepinv.physics import StackedLinearPhysics
from torch import Tensor
from torch.nn import functional as F

from imaging.fusion.physics import bundle_physics
from imaging.sensors import Band, SensorProfile
from scripts.scenes import FULL, Array, Scenes
from scripts.sensors import sensor

MARGIN = 32
"""Pixels of a truth on each side that are not measured."""
SCORED = 16
"""Panchromatic pixels at the border of a measurement that are not scored."""
WEIGHTS = (0.25, 0.30, 0.25, 0.20)
"""Of red, green, blue and near-infrared in the panchromatic band."""


@dataclass(frozen=True, kw_only=True)
class BundleSensor:
    """MTF at the Nyquist frequency of a band's own grid and signal-to-noise ratio at half signal, see `scripts.sensors.sensor`.

    ``weights`` are those of the panchromatic band, ``ratio`` its pixels to a coarse one along each side.
    """

    pan: tuple[float, float] = (0.15, 90.0)
    coarse: tuple[float, float] = (0.30, 150.0)
    ratio: int = 4
    weights: tuple[float, ...] = WEIGHTS

    @property
    def profile(self) -> SensorProfile:
        """Of 12 bits; the panchromatic band is the first."""
        fine, low = sensor(*self.pan), sensor(*self.coarse, len(self.weights))
        return replace(fine, bands=(*fine.bands, *(replace(b, gsd=self.ratio * b.gsd) for b in low.bands)))


@dataclass(frozen=True)
class Case:
    """A true sensor, what is told of it where that is not the same, and what is not told.

    ``shift`` is that of the coarse grid, to the right and down, panchromatic pixels. ``beyond`` is the contrast of what the panchromatic
    band sees outside of the bands' span, relative to that of the mixture, to which it is added: weights, gain and level stay right.
    """

    sensor: BundleSensor
    told: BundleSensor | None = None
    shift: tuple[float, float] = (0.0, 0.0)
    beyond: float = 0.0


_NOMINAL = BundleSensor()
CASES = {
    "nominal": Case(_NOMINAL),
    "sharp": Case(BundleSensor(pan=(0.30, 120.0), coarse=(0.40, 200.0))),
    "dim": Case(BundleSensor(pan=(0.12, 45.0), coarse=(0.25, 60.0))),
    "half": Case(BundleSensor(pan=(0.20, 90.0), coarse=(0.35, 150.0), ratio=2)),
    "weights wrong": Case(_NOMINAL, replace(_NOMINAL, weights=(0.30, 0.24, 0.30, 0.16))),
    "MTF wrong": Case(_NOMINAL, replace(_NOMINAL, pan=(0.20, 90.0), coarse=(0.25, 150.0))),
    "shifted": Case(_NOMINAL, shift=(0.5, 0.3)),
    "beyond": Case(_NOMINAL, beyond=0.18),
}
"""Four sensors, and the nominal one with something wrong: weights by 20 % alternately, MTF, grids that do not share a corner, and a
panchromatic band that sees what no other does."""


@dataclass(frozen=True)
class Bundle:
    """One scene seen by one bundle's sensor, and what methods are told.

    ``truth`` is ``(1, C, H, W)``, ``pan`` ``(1, 1, H, W)`` and ``ms`` ``(1, C, H / ratio, W / ratio)``, in image units. Of the told
    ``profile`` the panchromatic band is the first; ``weights`` are the told ones of its mixture. No shift between the grids is told.
    """

    truth: Tensor
    pan: Tensor
    ms: Tensor
    profile: SensorProfile
    weights: tuple[float, ...]
    ratio: int

    @property
    def bands(self) -> tuple[tuple[Band, ...], tuple[Band, ...]]:
        """The panchromatic band, and the coarse ones."""
        return self.profile.bands[:1], self.profile.bands[1:]

    def physics(self, margin: int | None = None) -> StackedLinearPhysics:
        """As told: from scenes with margins to the list of ``pan`` and ``ms``."""
        return bundle_physics(*self.bands, torch.tensor([self.weights]), self.profile.full_scale, self.ratio, margin=margin)

    def scored(self, x: Tensor | Array, block: int = 1) -> Array:
        """What counts of an image on the panchromatic grid, or of its means over blocks, ``(C, H, W)`` float64."""
        rows, columns = (slice(-(-SCORED // block), (n - SCORED) // block) for n in self.pan.shape[-2:])
        return np.asarray(torch.as_tensor(x)[..., rows, columns].cpu().double().flatten(0, -3).numpy())

    def wanted(self, block: int = 1) -> Array:
        """The truth of what `scored` takes."""
        return self.scored(F.avg_pool2d(self.truth, block), block)


def unseen(x: Tensor) -> Tensor:
    """What a red edge band would see that is no mixture of the bands, ``(1, 1, H, W)`` of mean 0 and deviation 1.

    The band is the geometric mean of red and near-infrared; what a regression on all bands explains of it is taken off.
    """
    edge = (x[:, 0] * x[:, 3]).clamp(min=0).sqrt().flatten().double()
    known = torch.cat([x[0].flatten(1), torch.ones_like(x[0, :1].flatten(1))]).T.double()
    left = edge - known @ torch.linalg.lstsq(known, edge[:, None]).solution[:, 0]
    found: Tensor = (left / left.std()).to(x).reshape(1, 1, *x.shape[2:])
    return found


def simulate(truth: Array, case: Case, seed: int) -> Bundle:
    """Measure a scene ``(C, H, W)`` with `MARGIN` pixels around; measurements are rounded to the sensor's 12 bits."""
    x, true, told = torch.from_numpy(truth)[None], case.sensor, case.told or case.sensor
    weights = torch.tensor([true.weights])
    scene = x
    if case.beyond:
        mixture = torch.einsum("kc,bchw->bkhw", weights, x)
        scene = torch.cat([case.beyond * mixture.std() * unseen(x), x], 1)
        weights = torch.cat([torch.ones(1, 1), weights], 1)
    bands = true.profile.bands
    physics = bundle_physics(bands[:1], bands[1:], weights, FULL, true.ratio, shift=case.shift, margin=MARGIN)
    seen = [p.noise_model(p.A(scene), seed=2 * seed + k) for k, p in enumerate(physics.physics_list)]
    pan, ms = ((v * FULL).round() / FULL for v in seen)
    return Bundle(x[..., MARGIN:-MARGIN, MARGIN:-MARGIN], pan, ms, told.profile, told.weights, true.ratio)


def bundles(scenes: Scenes, cases: dict[str, Case], seed: int) -> Iterator[tuple[dict[str, str], Bundle]]:
    """All scenes in all cases, with the names of both; the k-th scene has the same noise, of ``seed + k``, in each case."""
    for name, case in cases.items():
        for k, (scene, truth) in enumerate(scenes.items()):
            yield {"bundle": name, "scene": scene}, simulate(truth, case, seed + k)
