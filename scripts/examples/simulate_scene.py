"""Simulate a satellite scene from a finer or cleaner image: blur, signal-dependent noise, rounding, georeference.

    python -m scripts.examples.simulate_scene FRAME.tif data/pleiades_like_pan.tif --sensor pleiades-raw --size 512 --corner 100 200

Writes the measured scene and, beside it, *_reference.tif: the noise-free scene of the same grid that a perfect restoration would give.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from imaging.sensors import load_profile
from imaging.training import read_image
from scripts.command import command
from scripts.scenes import FULL, MARGIN, Array
from scripts.sensors import trial


def write(path: Path, values: Array, gsd: float, tags: dict[str, str]) -> None:
    """A single-band GeoTIFF in UTM 31N, 12 bits in 16."""
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1, dtype="uint16", crs="EPSG:32631",
        transform=from_origin(374000, 4829000, gsd, gsd), compress="deflate", predictor=2, tiled=True, blockxsize=256, blockysize=256,
    ) as target:  # fmt: skip
        target.write(values, 1)
        target.set_band_description(1, "PAN")
        target.update_tags(**tags)


def main() -> None:
    """Parse, simulate, write."""
    parser = command(__doc__)
    parser.add_argument("frame", type=Path, help="image whose mean of bands is the true scene")
    parser.add_argument("output", type=Path)
    parser.add_argument("--sensor", default="pleiades-raw", help="profile name or TOML file; its first band is simulated")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--corner", type=int, nargs=2, default=(32, 32), metavar=("ROW", "COLUMN"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--credit", default="", help="provenance, written as a tag")
    arguments = parser.parse_args()
    profile = load_profile(arguments.sensor)
    image = read_image(arguments.frame)
    row, column = arguments.corner
    window = image[:, row - MARGIN : row + arguments.size + MARGIN, column - MARGIN : column + arguments.size + MARGIN]
    if min(row, column) < MARGIN or window.shape[1:] != (arguments.size + 2 * MARGIN,) * 2:
        raise SystemExit(f"the window does not fit into {image.shape[1:]} with a margin of {MARGIN} pixels")
    range_in = FULL if image.dtype == np.uint16 else 255.0
    truth = window.astype(np.float32).mean(0, keepdims=True) / range_in
    measured = trial(truth, replace(profile, bands=profile.bands[:1]), arguments.seed).y[0, 0].numpy()
    tags = {
        "SIMULATED": f"scripts/examples/simulate_scene.py, sensor {profile.name}, frame {arguments.frame.name}, corner {row} {column}, "
        f"seed {arguments.seed}",
        "CREDIT": arguments.credit,
    }

    def stored(x: Array) -> Array:
        return np.asarray(np.clip(np.rint(x * profile.full_scale), 0, profile.full_scale).astype(np.uint16))

    write(arguments.output, stored(measured), profile.bands[0].gsd, tags)
    reference = arguments.output.with_name(f"{arguments.output.stem}_reference.tif")
    write(reference, stored(truth[0, MARGIN:-MARGIN, MARGIN:-MARGIN]), profile.bands[0].gsd, tags)
    print(f"{arguments.output}\n{reference}")


if __name__ == "__main__":
    main()
