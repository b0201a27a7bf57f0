"""Simulate a satellite scene from a finer or cleaner image: blur, signal-dependent noise, rounding, georeference.

    python scripts/simulate_scene.py FRAME.tif data/pleiades_like_pan.tif --sensor pleiades-raw --size 512 --corner 100 200

Writes the measured scene and, beside it, *_reference.tif: the noise-free scene of the same grid that a perfect restoration would give.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from imaging.sensors import load_profile, sensor_physics
from imaging.training import read_image


def write(path: Path, values: np.ndarray, gsd: float, tags: dict[str, str]) -> None:
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    margin = 8
    row, column = arguments.corner
    window = image[:, row - margin : row + arguments.size + margin, column - margin : column + arguments.size + margin]
    if min(row, column) < margin or window.shape[1:] != (arguments.size + 2 * margin,) * 2:
        raise SystemExit(f"the window does not fit into {image.shape[1:]} with a margin of {margin} pixels")
    range_in = 4095.0 if image.dtype == np.uint16 else 255.0
    truth = torch.from_numpy(window.astype(np.float32).mean(0) / range_in)[None, None]
    physics = sensor_physics(profile.bands[:1], profile.full_scale, margin)
    measured = physics(truth, seed=arguments.seed)[0, 0].numpy()
    tags = {
        "SIMULATED": f"scripts/simulate_scene.py, sensor {profile.name}, frame {arguments.frame.name}, corner {row} {column}, "
        f"seed {arguments.seed}",
        "CREDIT": arguments.credit,
    }

    def stored(x: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(x * profile.full_scale), 0, profile.full_scale).astype(np.uint16)

    write(arguments.output, stored(measured), profile.bands[0].gsd, tags)
    reference = arguments.output.with_name(f"{arguments.output.stem}_reference.tif")
    write(reference, stored(truth[0, 0, margin:-margin, margin:-margin].numpy()), profile.bands[0].gsd, tags)
    print(f"{arguments.output}\n{reference}")


if __name__ == "__main__":
    main()
