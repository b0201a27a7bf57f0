"""Calibrate a prior's posterior on validation scenes: variance factors, then intervals with a finite-sample guarantee.

    python scripts/calibrate.py --data DATA_FOLDER [--prior NAME|DIR]

First, one factor for the latent part, with a power of the rate scale, and one for the image-space part, on a grid, so that the 90 % and
95 % intervals have the right mean coverage. Scenes, of as many bands as the prior: naip_rgbn_60cm/val tiles 0 to 5 and, up to three bands,
two windows of one drone frame, each kind's mean coverage weighted as the benchmark weights it (six tiles to one frame), for the
benchmark's three sensors.

Then conformal risk control (Angelopoulos et al., ICLR 2024) with the scene as the exchangeable unit: on other scenes, tiles 6 to 19 and 32
to 39 and two more windows, the least half-width in standard deviations for which the mean share of missed pixels over n scenes, times
n / (n + 1), plus 1 / (n + 1), is at most 1 - level. The expected share of missed pixels of a new scene of the same kind is then at most
1 - level, whatever the errors' distribution. None of the scenes is in the benchmark. Put what is printed into the recipe.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmark_restoration import FULL, MARGIN, SENSORS, Trial, chosen, sensor, tiles, trial
from torch import Tensor

from imaging.posterior import VBLE, FitSettings, Moments, PosteriorMixture
from imaging.priors import DEFAULT_PRIOR, load_prior
from imaging.priors.calibration import Calibration
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


def scenes(data: Path, bands: int, ranges: Sequence[tuple[int, int]], places: Sequence[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Validation scenes ``(bands, H, W)``, 256 or 272 pixels square: ranges of tiles, and windows of the frame where it has the bands."""
    found = {f"tile {first + k}": x for first, last in ranges for k, x in enumerate(tiles(data, "val", first, last, bands))}
    if bands <= 3:
        frame = chosen(read_image(data / FRAME), bands) / FULL
        for row, column in places:
            found[f"frame {row}"] = np.ascontiguousarray(frame[:, row : row + 272, column : column + 272])
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


def share(p: Parts, factors: Calibration, z: float) -> float:
    """Share of a scene's pixels within ``z`` standard deviations."""
    variance = p.between + factors.latent * p.scale**factors.exponent * p.latent + factors.image * p.image
    return float((p.error <= z**2 * variance).mean())


def conformal(found: list[dict[str, Parts]], factors: Calibration, level: float) -> tuple[float, float]:
    """Half-width in standard deviations by conformal risk control, and the scenes' mean coverage at it.

    A scene's risk is its mean over the sensors. Infinite where there are too few scenes for the level.
    """
    names = list(found[0])
    n = len(names)

    def covered(z: float) -> float:
        return float(np.mean([share(f[s], factors, z) for f in found for s in names]))

    for z in np.arange(0.5, 12, 0.02).round(2).tolist():
        if (1 - covered(z)) * n / (n + 1) + 1 / (n + 1) <= 1 - level:
            return z, covered(z)
    return float("inf"), 1.0


def coverage(found: dict[str, Parts], factors: Calibration, z: float) -> float:
    """Mean coverage of one sensor, six tiles to one frame where there are frames."""
    kinds = {kind: [share(p, factors, z) for k, p in found.items() if k.startswith(kind)] for kind in ("tile", "frame")}
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

    def fitted(chosen_scenes: dict[str, np.ndarray], seed: int) -> dict[str, dict[str, Parts]]:
        found = {}
        for name, (nyquist, snr) in SENSORS.items():
            profile = sensor(nyquist, snr, bands)
            found[name] = {s: parts(trial(x, profile, seed + k), model) for k, (s, x) in enumerate(chosen_scenes.items())}
        return found

    found = fitted(scenes(arguments.data, bands, ((0, 6),), ((200, 300), (560, 700))), 100)

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
    others = fitted(scenes(arguments.data, bands, ((6, 20), (32, 40)), ((210, 800), (570, 200))), 200)
    print(f"\n[calibration]\nlatent_variance = {best.latent}\nlatent_exponent = {best.exponent}\nimage_variance = {best.image}")
    count = len(next(iter(others.values())))
    print(f"\n[conformal]    # half-widths in standard deviations, by conformal risk control on {count} other scenes\nscenes = {count}")
    for level in LEVELS:
        width, met = conformal(list(others.values()), best, level)
        print(f"level_{100 * level:.0f} = {width}    # covers {met:.3f} here; of a new scene's pixels at least {level} are expected")
    for name, f in others.items():
        print(f"other scenes, {name}: " + ", ".join(f"{coverage(f, best, z):.3f}" for z in LEVELS.values()))


if __name__ == "__main__":
    main()
