"""Simulate a bundle of a panchromatic and a multispectral scene from an image of red, green, blue and near-infrared.

    python -m scripts.examples.simulate_bundle FRAME.webp data/bundle --sensor pleiades-raw

Writes OUTPUT_pan.tif, OUTPUT_ms.tif, whose grid begins a fraction of a panchromatic pixel later, and OUTPUT_reference.tif: the noise-free
bands on the panchromatic grid that a perfect fusion would give.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio import Affine

from imaging.fusion import bundle_margin, bundle_physics
from imaging.restoration.bundle import bundle_bands
from imaging.sensors import load_profile
from imaging.training import read_image
from scripts.command import command
from scripts.scenes import Array

ORDER = ("red", "green", "blue", "nir")
"""Of the frame's bands."""


def write(path: Path, values: Array, names: list[str], transform: Affine, tags: dict[str, str]) -> None:
    """A GeoTIFF in UTM 31N, 12 bits in 16."""
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[2], height=values.shape[1], count=len(values), dtype="uint16", crs="EPSG:32631",
        transform=transform, compress="deflate", predictor=2,
    ) as target:  # fmt: skip
        target.write(values)
        for k, name in enumerate(names, start=1):
            target.set_band_description(k, name)
        target.update_tags(**tags)


def main() -> None:
    """Parse, simulate, write."""
    parser = command(__doc__)
    parser.add_argument("frame", type=Path, help="image of red, green, blue and near-infrared")
    parser.add_argument("output", type=Path, help="beginning of the files' names")
    parser.add_argument("--sensor", default="pleiades-raw", help="profile name or TOML file with a panchromatic band and four coarser ones")
    parser.add_argument("--weights", type=float, nargs=4, default=(0.2, 0.3, 0.3, 0.2), metavar="W", help="by the sensor's order")
    parser.add_argument("--shift", type=float, nargs=2, default=(1.5, 0.5), metavar=("RIGHT", "DOWN"), help="panchromatic pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--credit", default="", help="provenance, written as a tag")
    arguments = parser.parse_args()
    profile = load_profile(arguments.sensor)
    pan, ms = bundle_bands(profile, ("PAN",), tuple(b.name for b in profile.bands if b.name != "PAN"))
    ratio, shift, gsd = round(ms[0].gsd / pan[0].gsd), tuple(arguments.shift), pan[0].gsd
    image = read_image(arguments.frame).astype(np.float32) / 255
    truth = torch.from_numpy(np.stack([image[ORDER.index(str(b.common_name))] for b in ms]))[None]
    margin = bundle_margin(ms, ratio, shift)
    side = (min(truth.shape[2:]) - 2 * margin) // ratio * ratio
    truth = truth[..., : side + 2 * margin, : side + 2 * margin]
    physics = bundle_physics(pan, ms, torch.tensor([arguments.weights]), profile.full_scale, ratio, shift=shift, margin=margin)
    torch.manual_seed(arguments.seed)
    sharp, coarse = physics(truth)
    told = f"scripts/examples/simulate_bundle.py, sensor {profile.name}, frame {arguments.frame.name}, weights {arguments.weights}, seed "
    tags = {"SIMULATED": told + str(arguments.seed), "CREDIT": arguments.credit}
    corner = Affine.translation(374000, 4829000)

    def stored(x: torch.Tensor) -> Array:
        return np.asarray(np.clip(np.rint(x[0].numpy() * profile.full_scale), 0, profile.full_scale).astype(np.uint16))

    fine, low = corner @ Affine.scale(gsd, -gsd), corner @ Affine.scale(gsd, -gsd) @ Affine.translation(*shift) @ Affine.scale(ratio)
    names = [b.name for b in ms]
    beginning = str(arguments.output)
    for end, values, bands, transform in (
        ("pan", sharp, ["PAN"], fine), ("ms", coarse, names, low), ("reference", truth[..., margin:-margin, margin:-margin], names, fine)
    ):  # fmt: skip
        write(Path(f"{beginning}_{end}.tif"), stored(values), bands, transform, tags)
        print(f"{beginning}_{end}.tif")


if __name__ == "__main__":
    main()
