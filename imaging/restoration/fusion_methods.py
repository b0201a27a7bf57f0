"""Ways to fuse windows of a bundle: the Gaussian posterior, one pass of a network, a fit of a joint prior."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.amortised import DEFAULT_ORIENTATIONS, ImagePosterior, InferenceNetwork, Limits
from imaging.amortised.correlation import ErrorField, place_of
from imaging.filters import box_mean
from imaging.fusion import BundleArea, CrossBandGaussian, bundle_features
from imaging.moments import Posterior
from imaging.names import AMORTISED, GAUSSIAN
from imaging.raster.tiles import STEP
from imaging.restoration.bundle import Stack
from imaging.restoration.fitting import channel_order
from imaging.sensors import SensorPhysics
from imaging.sensors.wiener import repeated

WINDOW_BYTES = 1_200_000_000
"""Memory that a window of a bundle may take, the same on every machine: the tiles of a run do not depend on where it runs."""
_REACH = 20
"""How far a fusion sees, coarse pixels: beyond, nothing changes it by a thousandth of the deviation."""
_SIDE = 5
"""Of the squares over which an image is made consistent, twice, coarse pixels."""
_LEAST_SHARE = 0.25


@dataclass(frozen=True)
class BundleWindow:
    """Windows of a bundle that are fused together, in image units, and the model of the scene there.

    ``origins`` are the absolute row and column of each window's first sharp pixel.
    """

    area: BundleArea
    model: CrossBandGaussian
    origins: list[tuple[int, int]]
    seed: int


class FusionMethod(ABC):
    """A way to fuse windows.

    It is called ``kind`` in options; ``name`` and ``digest`` are those of its network or prior, ``steps`` the iterations of one fit.
    Windows begin on multiples of ``step``, less a margin; they keep ``room`` free. ``pixel_bytes`` is the memory for each pixel of a window
    and band; measured on a CPU, generous. Progress counts ``passes``.
    """

    kind: str
    name: str = ""
    digest: str = ""
    steps: int = 1
    pixel_bytes: int = 250
    step: int = STEP
    room: int = 0
    passes: int = 1

    def halo(self, ratio: int) -> int:
        """Sharp pixels around a core that take part."""
        return _REACH * ratio

    def margin(self, stack: Stack) -> int:
        """Unknown sharp pixels around what is measured."""
        return 0

    def tile(self, halo: int, bands: int) -> int:
        """Side of a tile's core whose window, of so many sharp and coarse bands, takes a fixed budget of memory; a multiple of `STEP`."""
        side = math.isqrt(WINDOW_BYTES // (self.pixel_bytes * bands)) - 2 * halo
        return min(max(side // STEP * STEP, 4 * STEP), 8192)

    @abstractmethod
    def fuse(self, window: BundleWindow, stack: Stack, progress: Callable[[int], None] | None = None) -> Posterior:
        """Posterior of the window's sharp and coarse bands, ``(B, C, H, W)``, or of the coarse ones only."""

    def record(self) -> dict[str, Any]:
        """What standard deviations rest on."""
        return {"calibration": "none"}


def error_field(model: CrossBandGaussian, deviation: Tensor) -> ErrorField:
    """How errors of deviations ``(B, C, H, W)`` of the last C bands hang together within a band: as those of the Gaussian posterior do."""
    bands = deviation.shape[1]
    expected = model.deviations[:, -bands:].reshape(-1, 1, bands, 1, 1)
    return ErrorField(model.error_kernels[:, :, -bands:].to(deviation), place_of(expected, deviation))


class GaussianFusion(FusionMethod):
    """The cross-band Gaussian posterior."""

    kind = GAUSSIAN
    name = "cross-band Gaussian"
    pixel_bytes = 160

    def fuse(self, window: BundleWindow, stack: Stack, progress: Callable[[int], None] | None = None) -> Posterior:
        """Posterior of all bands."""
        a = window.area
        mean, deviation = window.model.posterior(a.sharp, a.coarse, a.sharp_mask, a.coarse_mask)
        if progress is not None:
            progress(1)
        return ImagePosterior(mean, deviation, error_field(window.model, deviation), window.origins, window.seed)


class NetworkFusion(FusionMethod):
    """One pass of a network that sees the Gaussian posteriors and the measurements."""

    kind = AMORTISED
    pixel_bytes = 450

    def __init__(
        self, network: InferenceNetwork, name: str = "", digest: str = "", orientations: int = DEFAULT_ORIENTATIONS,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.network, self.name, self.digest, self.steps, self.limits = network, name, digest, orientations, limits or Limits()

    def fuse(self, window: BundleWindow, stack: Stack, progress: Callable[[int], None] | None = None) -> Posterior:
        """Posterior of the coarse bands."""
        a, model = window.area, window.model
        order = channel_order(stack.bands[1], self.network.bands)
        back = [order.index(k) for k in range(len(order))]
        with torch.no_grad():
            found = bundle_features(model, a.sharp, a.coarse, _torn(a.sharp_mask), _torn(a.coarse_mask))
            change, spread = self.network(found.stack[:, order], self.steps)
            image = _consistent(found.estimate + change[:, back] * found.unit, a, model.coarse)
            deviation = spread[:, back] * found.unit
        if progress is not None:
            progress(1)
        return ImagePosterior(image, deviation, error_field(model, deviation), window.origins, window.seed)

    def record(self) -> dict[str, Any]:
        """Deviations are those of the likelihood's training, with one factor for all scenes and sensors."""
        record: dict[str, Any] = {"calibration": "none" if self.network.factor == 1 else {"deviation": self.network.factor}}
        return record | ({"half_widths": self.limits.half_widths} if self.limits.half_widths else {})


def _torn(mask: Tensor) -> Tensor | None:
    return None if bool((mask > 0).all()) else mask


def _consistent(image: Tensor, area: BundleArea, physics: SensorPhysics) -> Tensor:
    """An image whose local means are those that the coarse bands measured: what it lacks of them, averaged twice over squares, is added."""
    valid = (area.coarse_mask > 0).to(image)
    lacking = (area.coarse - physics.A(F.pad(image, (physics.margin,) * 4, mode="replicate"))) * valid
    lacking = box_mean(box_mean(lacking, _SIDE), _SIDE)
    if not bool((valid > 0).all()):
        lacking = lacking / box_mean(box_mean(valid, _SIDE), _SIDE).clamp(min=_LEAST_SHARE)
    return image + repeated(lacking, physics.factor)
