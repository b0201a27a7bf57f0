"""Small bundles in files: a truth, what both sensors see of it, and where the grids lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio import Affine

from imaging.fusion import bundle_physics
from imaging.restoration import FusedResult, FuseOptions, fuse_scene
from imaging.sensors import Band, Mtf, Noise, SensorProfile
from tests.scenes import read, smooth, write_scene

FULL = 4095.0
WEIGHTS = (0.35, 0.3, 0.2, 0.15)
NAMES = (("R", "red"), ("G", "green"), ("B", "blue"), ("N", "nir"))
PROFILE = SensorProfile(
    "bundle", "raw", 12,
    (
        Band("PAN", 0.5, Mtf("gaussian", (0.15, 0.15)), Noise(5.0, 0.02), common_name="pan"),
        *(Band(n, 2.0, Mtf("gaussian", (0.3, 0.3)), Noise(3.0, 0.01), common_name=c) for n, c in NAMES),
    ),
)  # fmt: skip


def scene(height: int, width: int, seed: int = 0, own: float = 0.3) -> NDArray[np.float64]:
    """Four bands around 1300 DN that have most of their structure in common, ``(4, height, width)``."""
    common, other = smooth(1, height, width, seed) - 1200, smooth(4, height, width, seed + 100) - 1200
    return np.asarray(1300 + np.array([1.0, 0.9, 0.8, 1.2])[:, None, None] * common + own * other)


@dataclass(frozen=True)
class Made:
    """Files of a bundle in a folder, and the truth on the grid of its panchromatic scene, stored units."""

    ms: Path
    pan: Path
    truth: NDArray[np.float64]

    def fuse(self, **changes: Any) -> tuple[FusedResult, NDArray[np.float64], NDArray[np.float64]]:
        """What `fuse_scene` makes of it: its result, the fused scene and the deviations; keywords are those of `FuseOptions` and paths."""
        given = {k: changes.pop(k) for k in ("resume", "overwrite", "save_samples", "reference", "sensor", "progress") if k in changes}
        given = {"sensor": PROFILE, "overwrite": True} | given
        result = fuse_scene(self.ms, self.pan, options=FuseOptions(**{"method": "gaussian"} | changes), **given)
        return result, read(Path(result.restored)).astype(float), read(Path(str(result.std))).astype(float)


@dataclass(frozen=True)
class Bundle:
    """How a bundle is simulated.

    The coarse grid is shifted by ``shift`` sharp pixels to the right and down, of which the files tell ``told``, all of it by default.
    ``pan_cut`` and ``ms_cut`` are rows and columns that both lack at their upper and left ends, in their own pixels, ``ends`` those that
    the panchromatic scene lacks at the others. ``beyond`` is what the panchromatic band sees of a scene of its own, DN.
    """

    ratio: int = 4
    size: tuple[int, int] = (160, 160)
    shift: tuple[float, float] = (0.0, 0.0)
    told: tuple[float, float] | None = None
    pan_cut: tuple[int, int] = (0, 0)
    ms_cut: tuple[int, int] = (0, 0)
    ends: tuple[int, int] = (0, 0)
    weights: tuple[float, ...] = WEIGHTS
    beyond: float = 0.0
    seed: int = 0

    def measured(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Truth, panchromatic and multispectral scene before anything is cut, stored units."""
        margin = self.ratio * (8 + int(max(map(abs, self.shift))) // self.ratio)
        truth = scene(*(n + 2 * margin for n in self.size), self.seed)
        bands = PROFILE.bands
        physics = bundle_physics(
            bands[:1], bands[1:], torch.tensor([self.weights]), FULL, self.ratio, shift=self.shift, margin=margin
        )  # fmt: skip
        seen = physics.A(torch.from_numpy(truth / FULL).float()[None])
        parts = [
            p.noise_model(y, seed=self.seed + 7 + k)[0].double().numpy() * FULL for k, (p, y) in enumerate(zip(physics, seen, strict=True))
        ]
        if self.beyond:
            parts[0] = parts[0] + self.beyond * (smooth(1, *self.size, self.seed + 300) - 1200) / 300
        inner = slice(margin, -margin)
        return truth[:, inner, inner], parts[0], parts[1]

    def write(self, folder: Path, *, dtype: str = "uint16", change: Any = None, **profile: Any) -> Made:
        """Write both files; ``change(pan, ms)`` may spoil the arrays first, further keywords are of both files."""
        truth, pan, ms = self.measured()
        (top, left), (i, j), (bottom, right) = self.pan_cut, self.ms_cut, self.ends
        cut = (slice(None), slice(top, pan.shape[1] - bottom), slice(left, pan.shape[2] - right))
        pan, truth, ms = pan[cut], truth[cut], ms[:, i:, j:]
        if change is not None:
            change(pan, ms)
        r, told = self.ratio, self.told or self.shift
        where = {
            "pan": Affine(0.5, 0, 500_000 + 0.5 * left, 0, -0.5, 4_800_000 - 0.5 * top),
            "ms": Affine(0.5 * r, 0, 500_000 + 0.5 * (r * j + told[0]), 0, -0.5 * r, 4_800_000 - 0.5 * (r * i + told[1])),
        }
        stored = {
            n: v.round().clip(0, 65535).astype(dtype) if dtype != "float32" else v.astype(dtype) for n, v in (("pan", pan), ("ms", ms))
        }
        paths = {n: write_scene(folder / f"{n}.tif", v, transform=where[n], **profile) for n, v in stored.items()}
        return Made(paths["ms"], paths["pan"], truth)


INNER = (slice(None), slice(16, -16), slice(16, -16))


def off(fused: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """How far to the right and down of the truth a fused scene lies, pixels: a regression of the difference on the truth's slopes."""
    down, right = np.gradient(truth, axis=(1, 2))
    design = np.stack([-right[INNER].ravel(), -down[INNER].ravel(), truth[INNER].ravel(), np.ones(truth[INNER].size)], 1)
    solution = np.linalg.lstsq(design, (fused - truth)[INNER].ravel(), rcond=None)[0]
    return float(solution[0]), float(solution[1])


def rmse(fused: NDArray[np.float64], truth: NDArray[np.float64], where: Any = INNER) -> float:
    """Root mean square error, away from the edges unless said otherwise; pixels that are NaN do not count."""
    return float(np.sqrt(np.nanmean((fused - truth)[where] ** 2)))


def covered(fused: NDArray[np.float64], std: NDArray[np.float64], truth: NDArray[np.float64], where: Any = INNER) -> float:
    """Share of true values in the intervals of 90 %."""
    return float((np.abs(fused - truth)[where] < 1.6449 * std[where]).mean())
