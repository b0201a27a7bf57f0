"""Check a restored scene against its input: metadata, block means, and invariance to the tile plan.

    python -m scripts.examples.check_restoration SCENE.tif RESTORED.tif STD.tif [--other RESTORED_WITH_OTHER_TILES.tif]

With --other the share of pixels whose two restorations agree is printed; run both with the same seed and settings. Restored
integers can only differ by whole numbers: to compare without rounding, give a float32 copy of the scene to both runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from imaging.metrics import block_mean
from scripts.command import command


def main() -> None:
    """Parse and print."""
    parser = command(__doc__)
    parser.add_argument("rasters", type=Path, nargs=3, metavar=("SCENE.tif", "RESTORED.tif", "STD.tif"))
    parser.add_argument("--other", type=Path)
    arguments = parser.parse_args()
    with rasterio.open(arguments.rasters[0]) as a, rasterio.open(arguments.rasters[1]) as b, rasterio.open(arguments.rasters[2]) as s:
        same = {
            "size": a.shape == b.shape == s.shape, "type": a.dtypes == b.dtypes, "RPC": a.rpcs == b.rpcs == s.rpcs,
            "CRS": a.crs == b.crs, "transform": a.transform == b.transform, "nodata": a.nodatavals == b.nodatavals,
        }  # fmt: skip
        before, after, std = (d.read(1).astype(float) for d in (a, b, s))
    print("identical: " + ", ".join(f"{k} {'yes' if v else 'NO'}" for k, v in same.items()))
    print(f"values {before.min():g} to {before.max():g} before, {after.min():g} to {after.max():g} after")
    change = np.abs(block_mean(after, 64) / block_mean(before, 64) - 1)
    print(f"means over 64 x 64 blocks change by {100 * change.max():.3f} % at most, {100 * change.mean():.4f} % on average")
    low, middle, high = np.nanquantile(std, [0.01, 0.5, 0.99])
    print(f"standard deviation: median {middle:.2f}, 1 % to 99 %: {low:.2f} to {high:.2f}")
    if arguments.other:
        with rasterio.open(arguments.other) as other:
            difference = np.abs(after - other.read(1).astype(float))
        tolerance = 0.01 * std
        print(f"other tile plan: {100 * (difference == 0).mean():.3f} % of pixels are equal, largest difference {difference.max():g}")
        print(f"  within 1 % of the standard deviation: {100 * (difference <= tolerance).mean():.3f} %")
        print(f"  within that, or one step of rounding: {100 * (difference <= np.maximum(tolerance, 1)).mean():.3f} %")


if __name__ == "__main__":
    main()
