"""Whether tiles show: one scene restored with several tile sizes and batches, each against the first.

    python scripts/benchmark_tiles.py SCENE.tif --sensor pleiades --work FOLDER [--tiles 192 256 512] [--batches 1 4] [--output table.md]

Differences are counted in local standard deviations, for restored values, standard deviations and two posterior samples; those of a method
without them, such as --method wcrr, in stored units. Bands are restored as float32, so that rounding to integers does not hide or make
them. Finished runs are kept in --work, so that the script can be resumed.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from imaging.names import REGULARIZERS
from imaging.restoration import RestoreOptions, ScenePaths, run_scene

LIMIT = 0.005
"""Of the local standard deviation."""
SAMPLES = 2


def run(scene: Path, sensor: str, folder: Path, options: RestoreOptions) -> dict[str, NDArray[np.float32]]:
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


def main() -> None:
    """Restore, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--sensor", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tiles", type=int, nargs="+", default=[512, 256, 192])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--method", default=RestoreOptions().method)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--halo", type=int, help="by default as of the command")
    parser.add_argument("--output", type=Path, help="table")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    scene = a.work / "scene.tif"
    if not scene.exists():
        with rasterio.open(a.scene) as source, rasterio.open(scene, "w", **source.profile | {"dtype": "float32"}) as target:
            target.write(source.read().astype(np.float32))
    lines = [
        "| tile | batch | of | beyond 0.5 % of the deviation | 99.9 % of pixels differ by at most | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    first: dict[str, NDArray[np.float32]] | None = None
    for tile, batch in product(a.tiles, a.batches):
        samples = 0 if a.method in REGULARIZERS else SAMPLES
        options = RestoreOptions(method=a.method, tile=tile, batch=batch, samples=samples, iterations=a.iterations, halo=a.halo)
        found = run(scene, a.sensor, a.work / f"tile{tile}-batch{batch}", options)
        if first is None:
            first = found
            continue
        for name, values in found.items():
            gap = np.abs(values.astype(float) - first[name])
            if "std" not in first:
                lines.append(f"| {tile} | {batch} | {name} | | {np.quantile(gap, 0.999):.3g} | {gap.max():.3g} |")
            else:
                gap = (gap / first["std"])[np.isfinite(first["std"])]
                high, largest = np.quantile(gap, 0.999), gap.max()
                lines.append(f"| {tile} | {batch} | {name} | {(gap > LIMIT).mean():.5%} | {high:.2%} | {largest:.2%} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines)
    print(table)
    if a.output:
        a.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
