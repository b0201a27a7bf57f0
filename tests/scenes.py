"""Small scenes for tests."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from imaging.restoration import RestoreOptions, ScenePaths, SceneResult, run_scene
from imaging.sensors import SensorProfile

FURTHER = Path(os.environ.get("IMAGING_DATA", "no folder is given"))
"""Folder of further images, from the environment; tests that want them are skipped without it."""
UTM = {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 371_000, 0, -0.5, 4_826_000)}
ROTATED = Affine.translation(371_000, 4_826_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
GCPS = [
    GroundControlPoint(0.0, 0.0, 1.5, 43.5, 10.0, "1"),
    GroundControlPoint(32.5, 64.0, 1.6, 43.5, 11.0, "2", "a corner"),
    GroundControlPoint(40.0, 0.0, 1.5, 43.4, 12.0, "3"),
]
CUBIC = [0.5, *(0.001 * k for k in range(1, 20))]
RATIONAL = RPC(
    height_off=100.0, height_scale=500.0, lat_off=43.5, lat_scale=0.1, line_off=30.0, line_scale=31.5, long_off=1.5, long_scale=0.1,
    samp_off=32.0, samp_scale=32.0, line_num_coeff=CUBIC, line_den_coeff=CUBIC[::-1], samp_num_coeff=CUBIC[::-1], samp_den_coeff=CUBIC,
    err_bias=1.0, err_rand=0.5,
)  # fmt: skip


def smooth(bands: int, height: int, width: int, seed: int = 0) -> NDArray[np.float64]:
    """Blobs of a few pixels around 1200 DN with noise, ``(bands, height, width)``, from 300 to 3000 DN."""
    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.standard_normal((bands, height, width)), (0, 2.5, 2.5), mode="wrap")
    blobs /= max(float(blobs.std()), 1e-9) if blobs.size > 1 else 1.0
    return np.asarray((1200 + 300 * blobs + 10 * rng.standard_normal(blobs.shape)).clip(300, 3000))


def write_scene(path: Path, values: NDArray[Any], **profile: Any) -> Path:
    """Write ``(bands, height, width)`` as a GeoTIFF, with a UTM georeference unless the profile says otherwise."""
    count, height, width = values.shape
    settings = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype, **UTM} | profile
    with rasterio.open(path, "w", **{k: v for k, v in settings.items() if v is not None}) as target:
        target.write(values)
    return path


def read(path: Path) -> NDArray[Any]:
    """All bands of a raster."""
    with rasterio.open(path) as source:
        return np.asarray(source.read())


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, hidden ones too; folders have none."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def fit(
    scene: Path, prior: Path, *, sensor: str | SensorProfile | None = "pleiades-raw", folder: Path | None = None, **changes: Any
) -> SceneResult:
    """Restore a small scene with very few iterations; keywords are those of `RestoreOptions` and `ScenePaths`, ``folder`` takes samples."""
    named = {f.name for f in fields(ScenePaths)} - {"samples", "save_samples"}
    paths = {k: changes.pop(k) for k in named & set(changes)}
    settings = RestoreOptions(**{"prior": str(prior), "iterations": 2, "tile": 64, "halo": 16} | changes)
    return run_scene(ScenePaths(input=scene, save_samples=folder, **paths), sensor, settings)
