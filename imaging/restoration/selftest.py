"""What shows that an installation works: a small restoration whose outcome is known, a small GeoTIFF written and read."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from imaging.metrics import coverage, psnr
from imaging.priors import DEFAULT_PRIOR
from imaging.raster import Scene
from imaging.restoration.arrays import restore
from imaging.restoration.options import RestoreOptions
from imaging.sensors import load_profile, sensor_physics

SENSOR = "pleiades-raw"
SIDE = 96
LEAST_GAIN = 6.0
"""PSNR that the restoration must win, dB; it wins 8.4."""
COVERAGE = (0.8, 0.98)
"""Part of the pixels that 90 % intervals must cover; they cover 0.92."""
_MARGIN = 8


@dataclass(frozen=True)
class SelfTest:
    """PSNR of the measurement and of the restored scene, dB of full scale, and the share of pixels that the 90 % intervals cover."""

    before: float
    after: float
    coverage: float

    @property
    def better(self) -> bool:
        """Whether the restored scene is really better than the measurement."""
        return self.after - self.before >= LEAST_GAIN

    @property
    def honest(self) -> bool:
        """Whether the intervals cover sensibly."""
        return COVERAGE[0] <= self.coverage <= COVERAGE[1]


def simulated_scene(side: int = SIDE, seed: int = 0) -> NDArray[np.float64]:
    """Roofs and fields: overlapping tilted discs and rectangles with some texture, ``(side, side)`` in [0, 1], the same for a seed."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    scene = np.full((side, side), 0.25)
    for _ in range(300):
        row, column = rng.uniform(0, side, 2)
        radius, flat, level = rng.uniform(2, 20), rng.uniform(0.4, 1), rng.uniform(0.08, 0.6)
        slopes, is_disc = rng.uniform(-0.003, 0.003, 2), rng.random() < 0.5
        down, right = rows - row, columns - column
        inside = np.hypot(down, right) < radius if is_disc else (np.abs(down) < flat * radius) & (np.abs(right) < radius)
        scene[inside] = (level + slopes[0] * down + slopes[1] * right)[inside]
    texture = 0.01 * gaussian_filter(rng.standard_normal(scene.shape), 0.7)
    return np.asarray((gaussian_filter(scene, 0.4) + texture).clip(0.03, 0.9))


def restore_simulated(prior: str = DEFAULT_PRIOR, side: int = SIDE) -> SelfTest:
    """Simulate a scene as the sensor ``pleiades-raw`` measures it, restore it on the CPU, and compare with the truth."""
    profile = load_profile(SENSOR)
    scene = simulated_scene(side + 2 * _MARGIN)
    physics = sensor_physics(profile.bands[:1], profile.full_scale, _MARGIN)
    measured = physics(torch.from_numpy(scene).float()[None, None], seed=0)[0, 0].numpy()
    stored = np.rint(measured * profile.full_scale).clip(0, profile.full_scale).astype(np.uint16)
    truth = scene[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] * profile.full_scale
    restored, std, _ = restore(stored, SENSOR, options=RestoreOptions(prior=prior, device="cpu"))
    before, after = (psnr(x, truth, profile.full_scale) for x in (stored, restored[0]))
    return SelfTest(before, after, coverage(restored[0], std[0], truth, 0.9))


def geotiff_difference(folder: Path) -> str | None:
    """Write a GeoTIFF with georeference into a folder, read it again, and say what differs, values or georeference; nothing stays there."""
    values = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    crs, transform = CRS.from_epsg(32631), Affine(0.5, 0, 374_000, 0, -0.5, 4_829_000)
    with tempfile.TemporaryDirectory(dir=folder, prefix="imaging-restore-") as place:
        path = Path(place) / "scene.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=64, width=48, count=1, dtype="uint16", crs=crs, transform=transform, compress="deflate"
        ) as target:  # fmt: skip
            target.write(values, 1)
        with Scene(path) as scene:
            if not np.array_equal(scene.source.read(1), values):
                return "values"
            same = scene.source.crs == crs and scene.source.transform == transform and scene.source.crs.to_epsg() == 32631
        return None if same else "georeference"
