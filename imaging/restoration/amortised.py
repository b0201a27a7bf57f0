"""The posterior in one pass, as a method of windows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.amortised import AmortisedReconstructor, Limits
from imaging.names import AMORTISED
from imaging.restoration.method import Method, Progress, Window
from imaging.sensors import SensorPhysics

PASS_HALO, PASS_HALO_DOUBLE = 64, 96
"""How far a pass sees, pixels of the restored scene: beyond, nothing changes it by a thousandth of the deviation."""
PASS_BYTES = 330
"""Memory of a pass for each pixel and band."""


class AmortisedMethod(Method):
    """The posterior in one pass of a network, on the network's device; limits are those of what it was trained for."""

    kind = AMORTISED

    def __init__(self, model: AmortisedReconstructor, name: str = "", digest: str = "", limits: Limits | None = None) -> None:
        self.model, self.name, self.digest, self.limits = model, name, digest, limits or Limits()
        self.channels, self.bands = model.network.settings.channels, model.network.bands
        self.pixel_bytes, self.steps = PASS_BYTES * self.channels, model.orientations

    @property
    def device(self) -> torch.device:
        """That of the network."""
        return next(self.model.network.parameters()).device

    def halo(self, radius: int, scale: int) -> int:
        """How far features and network see."""
        return PASS_HALO if scale == 1 else PASS_HALO_DOUBLE

    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """Posterior mean, standard deviation and samples; in the margins those of the nearest pixel."""
        extents = window.extents or [(window.y.shape[2], window.y.shape[3])] * len(window.y)
        if len(set(extents)) == 1:
            found = self._within(window, physics, extents[0], slice(None))
        else:
            parts = [self._within(window, physics, e, slice(k, k + 1)) for k, e in enumerate(extents)]
            found = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        if progress is not None:
            progress(1)
        return found

    def _within(self, window: Window, physics: SensorPhysics, extent: tuple[int, int], items: slice) -> dict[str, Tensor]:
        """Some items of a window, whose pixels beyond the scene do not take part."""
        w, (rows, columns), m, s = window, extent, physics.margin, physics.factor
        y, mask = (v[items, :, :rows, :columns] for v in (w.y, w.mask))
        posterior = self.model.fit(y, physics, mask=mask, level=w.level, origins=w.origins[items], margins=False, seed=w.seed)
        found = {"restored": posterior.image, "std": posterior.deviation}
        found |= {f"sample_{k:03d}": posterior.sample(1, first=k)[0] for k in range(w.samples)}
        below, right = s * (w.y.shape[2] - rows), s * (w.y.shape[3] - columns)
        return {name: F.pad(x, (m, m + right, m, m + below), mode="replicate") for name, x in found.items()}

    def record(self) -> dict[str, Any]:
        """Deviations are those of the likelihood's training, with one factor for all scenes and sensors."""
        factor = self.model.network.factor
        return {"calibration": "none" if factor == 1 else {"deviation": factor}} | (
            {"half_widths": self.limits.half_widths} if self.limits.half_widths else {}
        )
