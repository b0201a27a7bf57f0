"""Whether tiles show: one scene restored with several tile sizes and batches, each against the first.

    python -m scripts.bench tiles SCENE.tif --sensor pleiades --work FOLDER [--tiles 192 256 512] [--batches 1 4]

Differences are counted in local standard deviations, for restored values, standard deviations and two posterior samples; those of a method
without them, such as --method wcrr, in stored units. Bands are restored as float32, so that rounding to integers does not hide or make
them. Finished restorations are kept in --work.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import rasterio

from imaging.names import REGULARIZERS
from imaging.restoration import RestoreOptions, ScenePaths, run_scene
from scripts.bench.results import Results
from scripts.bench.tables import Records, grouped
from scripts.scenes import Array

OPTIONS = {
    "scene": {"type": Path}, "--sensor": {}, "--iterations": {}, "--work": {"required": True},
    "--tiles": {"type": int, "nargs": "+", "default": [512, 256, 192]},
    "--batches": {"type": int, "nargs": "+", "default": [1, 4]},
    "--method": {"default": RestoreOptions().method},
    "--halo": {"type": int, "help": "by default as of the command"},
}  # fmt: skip
LIMIT = 0.005
"""Of the local standard deviation."""
SAMPLES = 2


def restored(scene: Path, sensor: str, folder: Path, options: RestoreOptions) -> dict[str, Array]:
    """Outputs of one run by what they are, from the disk where they lie there."""
    point = options.is_point
    paths = ScenePaths(
        input=scene, output=folder / "scene_restored.tif", save_samples=None if point else folder, uncertainty=not point, resume=True
    )
    if not paths.restored_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run_scene(paths, sensor, options)
    found = {"restored": paths.restored_path} | ({} if point else {"std": folder / "scene_std.tif"})
    found |= {f"sample {k}": paths.sample_path(k) for k in range(options.samples)}
    return {name: rasterio.open(path).read() for name, path in found.items()}


def compared(values: Array, first: Array, std: Array | None) -> dict[str, float]:
    """Differences of an output, in deviations or in stored units."""
    gap = np.abs(values.astype(float) - first)
    if std is None:
        return {"high": float(np.quantile(gap, 0.999)), "largest": float(gap.max())}
    gap = (gap / std)[np.isfinite(std)]
    return {"beyond": float((gap > LIMIT).mean()), "high": float(np.quantile(gap, 0.999)), "largest": float(gap.max())}


def run(a: argparse.Namespace, results: Results) -> None:
    """Restore, compare."""
    scene = a.work / "scene.tif"
    if not scene.exists():
        with rasterio.open(a.scene) as source, rasterio.open(scene, "w", **source.profile | {"dtype": "float32"}) as target:
            target.write(source.read().astype(np.float32))
    first: dict[str, Array] | None = None
    for tile, batch in product(a.tiles, a.batches):
        samples = 0 if a.method in REGULARIZERS else SAMPLES
        options = RestoreOptions(method=a.method, tile=tile, batch=batch, samples=samples, iterations=a.iterations, halo=a.halo)
        found = restored(scene, a.sensor, a.work / f"tile{tile}-batch{batch}", options)
        first = first or found
        for name, values in found.items() if found is not first else ():
            results.once({"tile": tile, "batch": batch, "of": name}, compared, values, first[name], first.get("std"))


def tables(records: Records) -> dict[str, str]:
    """One."""
    form = ".2%" if any("beyond" in r for r in records) else ".3g"
    columns = {
        "beyond": ("beyond 0.5 % of the deviation", ".5%"), "high": ("99.9 % of pixels differ by at most", form),
        "largest": ("largest difference", form),
    }  # fmt: skip
    return {"all": grouped(records, {k: k for k in ("tile", "batch", "of")}, columns)}
