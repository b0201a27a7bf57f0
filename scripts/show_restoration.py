"""Draw a scene before and after restoration with its standard deviation, side by side.

python scripts/show_restoration.py SCENE.tif RESTORED.tif STD.tif PICTURE.png [--window ROW COLUMN SIZE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import rasterio
from rasterio.windows import Window

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", type=Path, nargs=3, metavar=("SCENE.tif", "RESTORED.tif", "STD.tif"))
    parser.add_argument("picture", type=Path, metavar="PICTURE.png")
    parser.add_argument("--window", type=int, nargs=3, metavar=("ROW", "COLUMN", "SIZE"))
    arguments = parser.parse_args()
    images = []
    for path in arguments.rasters:
        with rasterio.open(path) as source:
            row, column, size = arguments.window or (0, 0, min(source.height, source.width))
            images.append(source.read(1, window=Window(column, row, size, size)).astype(float))
    low, high = np.nanquantile(images[1], [0.005, 0.995])
    figure, axes = plt.subplots(1, 3, figsize=(13.2, 4.6), layout="constrained")
    for axis, image, title in zip(axes[:2], images[:2], ("measured", "restored"), strict=True):
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title)
    shown = axes[2].imshow(images[2], cmap="viridis", vmin=0, vmax=np.nanquantile(images[2], 0.995), interpolation="nearest")
    axes[2].set_title("standard deviation (DN)")
    figure.colorbar(shown, ax=axes[2], fraction=0.046)
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(arguments.picture, dpi=80)


if __name__ == "__main__":
    main()
