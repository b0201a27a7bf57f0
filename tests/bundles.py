"""Small bundles of a panchromatic and a multispectral scene for tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import Affine

from imaging.fusion import bundle_physics
from imaging.sensors import Band, Mtf, Noise, SensorProfile, write_profile
from tests.scenes import smooth, write_scene
from tests.sensors.products import landsat

RATIO, SIDE, MARGIN = 4, 160, 32
WEIGHTS = (0.25, 0.3, 0.25, 0.2)
_BANDS = {"B": "blue", "G": "green", "R": "red", "N": "nir"}
PROFILE = SensorProfile(
    "bundle", "raw", 12,
    (
        Band("PAN", 0.5, Mtf("gaussian", (0.15, 0.15)), Noise(4.0, 0.05), common_name="pan"),
        *(Band(n, 2.0, Mtf("gaussian", (0.3, 0.3)), Noise(3.0, 0.03), common_name=c) for n, c in _BANDS.items()),
    ),
)  # fmt: skip
FUSE = ("--method", "gaussian")
"""Options of a fast fusion."""


@dataclass(frozen=True)
class Bundle:
    """Files of a bundle and of the truth on the panchromatic grid, and of the profile of its sensor."""

    pan: Path
    ms: Path
    truth: Path
    sensor: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.ms.parent

    @property
    def options(self) -> tuple[Any, ...]:
        """Options of a command that fuses them fast."""
        return "--input", self.ms, "--pan", self.pan, "--sensor", self.sensor, *FUSE


@cache
def measured(seed: int = 0) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Panchromatic ``(1, 160, 160)``, multispectral ``(4, 40, 40)`` and true ``(4, 160, 160)`` stored values."""
    side = SIDE + 2 * MARGIN
    common, own = smooth(1, side, side, seed), smooth(4, side, side, seed + 1)
    truth = (common + 0.3 * (own - own.mean()) * np.array([0.7, 0.8, 1.0, 1.5])[:, None, None]).clip(100, 3500)
    full = 2.0**PROFILE.bits - 1
    physics = bundle_physics(PROFILE.bands[:1], PROFILE.bands[1:], torch.tensor([WEIGHTS]), full, RATIO, margin=MARGIN)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        pan, ms = (
            (y[0] * full).round().clamp(1, full).numpy().astype(np.uint16) for y in physics(torch.from_numpy(truth / full)[None].float())
        )
    inner = slice(MARGIN, -MARGIN)
    return pan, ms, truth[:, inner, inner].round().astype(np.uint16)


def write_bundle(folder: Path, name: str = "", seed: int = 0) -> Bundle:
    """Write ``pan.tif``, ``ms.tif``, ``truth.tif`` and ``sensor.toml``, a name before them, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pan, ms, truth = measured(seed)
    found = Bundle(*(folder / f"{name}{n}" for n in ("pan.tif", "ms.tif", "truth.tif", "sensor.toml")))
    fine, coarse = (Affine(g, 0, 371_000, 0, -g, 4_826_000) for g in (0.5, 2.0))
    write_scene(found.pan, pan, transform=fine)
    write_scene(found.ms, ms, transform=coarse, photometric="MINISBLACK")
    write_scene(found.truth, truth, transform=fine, photometric="MINISBLACK")
    with rasterio.open(found.ms, "r+") as target:
        target.descriptions = tuple(_BANDS)
    write_profile(PROFILE, found.sensor)
    return found


def landsat_bundle(folder: Path) -> Path:
    """A Landsat product whose panchromatic band is the mean of the others, twice as fine."""
    landsat(folder, bands=(2, 3, 4, 5, 8))
    fine = 10 * (smooth(1, 192, 192, 7) + 0.3 * smooth(4, 192, 192, 8))
    coarse = fine.reshape(4, 96, 2, 96, 2).mean((2, 4))
    for name, values in zip(("B2", "B3", "B4", "B5", "B8"), [*coarse, fine.mean(0)], strict=True):
        with rasterio.open(next(folder.glob(f"*_{name}.TIF")), "r+") as target:
            target.write(values.round().astype(np.uint16), 1)
    return folder
