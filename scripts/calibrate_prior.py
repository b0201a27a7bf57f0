"""Fit the variance factors of a prior's posterior on validation scenes, and print the coverage before and after.

    python scripts/calibrate_prior.py --data DATA_FOLDER [--prior NAME|DIR]

One factor for the latent part, with a power of the rate scale, and one for the image-space part, on a grid, so that the 90 % and 95 %
intervals have the right mean coverage. Scenes, of as many bands as the prior: naip_rgbn_60cm/val tiles 0 to 5 and, up to three bands, two
windows of one drone frame, none of them in the benchmark, each kind's mean coverage weighted as the benchmark weights it (six tiles to one
frame), for the benchmark's three sensors. Put the result into [calibration] of the recipe.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmark_restoration import FULL, MARGIN, SENSORS, Trial, chosen, sensor, tiles, trial
from torch import Tensor

from imaging.posterior import VBLE, FitSettings, Moments, PosteriorMixture
from imaging.priors import DEFAULT_PRIOR, load_prior
from imaging.priors.base import Calibration
from imaging.priors.data import read_image
from imaging.sensors import sensor_physics

LEVELS = {0.90: 1.644854, 0.95: 1.959964}
LEAST_IMAGE_PART = 0.05
FRAME = "drone_linear12/train/garfield_x4_IMG_161122_164200_0093_RGB.tif"


class Parts(NamedTuple):
    """What one trial gives: rate scale, and of each scored pixel squared error and the parts of its variance.

    The disagreement of the lattices' means counts in full; the latent and the image-space part each get a factor.
    """

    scale: float
    error: np.ndarray
    between: np.ndarray
    latent: np.ndarray
    image: np.ndarray


def scenes(data: Path, bands: int) -> dict[str, np.ndarray]:
    """Validation scenes ``(bands, H, W)``, 272 or 256 pixels square."""
    found = {f"tile {k}": x for k, x in enumerate(tiles(data, "val", 0, 6, bands))}
    if bands <= 3:
        frame = chosen(read_image(data / FRAME), bands) / FULL
        for k, (row, column) in enumerate(((200, 300), (560, 700))):
            found[f"frame {k}"] = np.ascontiguousarray(frame[:, row : row + 272, column : column + 272])
    return found


def parts(t: Trial, model: VBLE) -> Parts:
    """Fit one trial."""
    margin = model.prior.border + 6
    physics = sensor_physics(t.profile.bands, FULL, margin)
    mixture = model.fit_mixture(t.y, physics, border=0)

    def scored(x: Tensor) -> np.ndarray:
        return t.inner(x[..., margin : margin + t.y.shape[-2], margin : margin + t.y.shape[-1]])

    def moments(*factors: float) -> Moments:
        return PosteriorMixture(tuple(replace(p, calibration=factors) for p in mixture.parts)).moments(model.settings.samples)

    between, latent, image = (moments(*f) for f in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    error = scored(between.mean) - t.inner(t.truth[..., MARGIN:-MARGIN, MARGIN:-MARGIN])
    common = scored(between.std) ** 2
    return Parts(
        float(mixture.parts[0].rate_scale.mean()), error**2, common, scored(latent.std) ** 2 - common, scored(image.std) ** 2 - common
    )


def coverage(found: dict[str, Parts], factors: Calibration, z: float) -> float:
    """Mean coverage of one sensor, six tiles to one frame where there are frames."""

    def share(p: Parts) -> float:
        variance = p.between + factors.latent * p.scale**factors.exponent * p.latent + factors.image * p.image
        return float((p.error <= z**2 * variance).mean())

    kinds = {kind: [share(p) for k, p in found.items() if k.startswith(kind)] for kind in ("tile", "frame")}
    tile = np.mean(kinds["tile"])
    return float((6 * tile + np.mean(kinds["frame"])) / 7 if kinds["frame"] else tile)


def main() -> None:
    """Parse, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", default=DEFAULT_PRIOR)
    arguments = parser.parse_args()
    model = VBLE(load_prior(arguments.prior), FitSettings(calibrated=False))
    bands = model.prior.channels
    found: dict[str, dict[str, Parts]] = {}
    for name, (nyquist, snr) in SENSORS.items():
        profile = sensor(nyquist, snr, bands)
        found[name] = {s: parts(trial(x, profile, 100 + k), model) for k, (s, x) in enumerate(scenes(arguments.data, bands).items())}

    def loss(factors: Calibration) -> float:
        return sum((coverage(f, factors, z) - level) ** 2 for f in found.values() for level, z in LEVELS.items())

    latents, images = np.arange(0.3, 1.51, 0.025).round(3).tolist(), np.arange(LEAST_IMAGE_PART, 1.01, 0.05).round(3).tolist()
    first = min((Calibration(a, b) for a in latents for b in images), key=loss)
    exponents = np.arange(-0.5, 1.01, 0.05).round(3).tolist()
    best = min((Calibration(a, first.image, e) for a in latents for e in exponents), key=loss)
    for factors in (Calibration(), first, best):
        for name, f in found.items():
            scale = np.mean([p.scale for p in f.values()])
            shares = ", ".join(f"{coverage(f, factors, z):.3f}" for z in LEVELS.values())
            print(f"latent {factors.latent:.3f} s^{factors.exponent:.2f}, image {factors.image:.3f}, {name}, s {scale:.2f}: {shares}")
    print(f"\n[calibration]\nlatent_variance = {best.latent}\nlatent_exponent = {best.exponent}\nimage_variance = {best.image}")


if __name__ == "__main__":
    main()
