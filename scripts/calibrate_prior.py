"""Fit the variance factors of a prior's posterior on validation scenes, and print the coverage before and after.

    python scripts/calibrate_prior.py --data DATA_FOLDER [--prior pan-small]

One factor for the latent part and one for the image-space part, on a grid, so that the 90 % and 95 % intervals have the right mean
coverage. Scenes: naip_rgbn_60cm/val tiles 0 to 5 and two windows of one drone frame, none of them in the benchmark, each kind's mean
coverage weighted as the benchmark weights it (six tiles to one frame), for the benchmark's three sensors. Put the result into
[calibration] of the recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from benchmark_restoration import FULL, MARGIN, SENSORS, Trial, sensor, tiles, trial
from torch import Tensor

from imaging.posterior import VBLE, FitSettings
from imaging.priors import load_prior
from imaging.priors.data import read_image
from imaging.sensors import sensor_physics

LEVELS = {0.90: 1.644854, 0.95: 1.959964}
LEAST_IMAGE_PART = 0.05
FRAME = "drone_linear12/train/garfield_x4_IMG_161122_164200_0093_RGB.tif"

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def scenes(data: Path) -> dict[str, np.ndarray]:
    """Validation scenes, 272 or 256 pixels square."""
    frame = read_image(data / FRAME).astype(np.float32).mean(0) / FULL
    windows = {f"frame {k}": np.ascontiguousarray(frame[r : r + 272, c : c + 272]) for k, (r, c) in enumerate(((200, 300), (560, 700)))}
    return {f"tile {k}": x for k, x in enumerate(tiles(data, "val", 0, 6))} | windows


def parts(t: Trial, model: VBLE) -> Parts:
    """Squared error, latent variance and image-space variance of each scored pixel."""
    margin = model.prior.border + 6
    physics = sensor_physics(t.profile.bands, FULL, margin)
    posterior = model.fit_mixture(t.y, physics, border=0)

    def scored(x: Tensor) -> np.ndarray:
        return t.inner(x[..., margin : margin + t.y.shape[-2], margin : margin + t.y.shape[-1]])

    both = posterior.moments(model.settings.samples)
    latent = (
        VBLE(model.prior, FitSettings(method="vble", calibrated=False)).fit_mixture(t.y, physics, border=0).moments(model.settings.samples)
    )
    error = scored(both.mean) - t.inner(t.truth[..., MARGIN:-MARGIN, MARGIN:-MARGIN])
    variance = scored(latent.std) ** 2
    return error**2, variance, np.maximum(scored(both.std) ** 2 - variance, 0)


def coverage(found: dict[str, Parts], latent: float, image: float, z: float) -> float:
    """Mean coverage of one sensor, six tiles to one frame."""
    share = {k: float((e <= z**2 * (latent * a + image * b)).mean()) for k, (e, a, b) in found.items()}
    kinds = [np.mean([v for k, v in share.items() if k.startswith(kind)]) for kind in ("tile", "frame")]
    return float((6 * kinds[0] + kinds[1]) / 7)


def main() -> None:
    """Parse, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", default="pan-small")
    arguments = parser.parse_args()
    model = VBLE(load_prior(arguments.prior), FitSettings(calibrated=False))
    found: dict[str, dict[str, Parts]] = {}
    for name, (nyquist, snr) in SENSORS.items():
        profile = sensor(nyquist, snr)
        found[name] = {s: parts(trial(x, profile, 100 + k), model) for k, (s, x) in enumerate(scenes(arguments.data).items())}

    def loss(pair: tuple[float, float]) -> float:
        return sum((coverage(f, *pair, z) - level) ** 2 for f in found.values() for level, z in LEVELS.items())

    grid = [(round(a, 3), round(b, 3)) for a in np.arange(0.3, 1.51, 0.025) for b in np.arange(LEAST_IMAGE_PART, 1.01, 0.05)]
    best = min(grid, key=loss)
    for pair in ((1.0, 1.0), best):
        for name, f in found.items():
            print(
                f"latent {pair[0]:.3f}, image {pair[1]:.3f}, {name}: " + ", ".join(f"{coverage(f, *pair, z):.3f}" for z in LEVELS.values())
            )
    print(f"\n[calibration]\nlatent_variance = {best[0]}\nimage_variance = {best[1]}")


if __name__ == "__main__":
    main()
