"""Calibrate a prior's posterior on validation scenes: variance factors, then intervals with a finite-sample guarantee.

    python -m scripts.release.prior --data DATA_FOLDER [--prior NAME|DIR]

First, factors for latents of low and of high frequency, with powers of the rate scale and of the scene's sharpness, and one for the
image-space part, so that the 90 % and 95 % intervals of pixels and of means over 4 x 4 pixels have the right mean coverage for each kind of
scene, for the benchmark's three sensors. Scenes, of as many bands as the prior: every other calibration tile, four of them in linear
light (squared), four of them at half the resolution and, up to three bands, one frame in linear light.

Then half-widths by conformal risk control (scripts/release/conformal.py) on the other calibration scenes.
None of the scenes is in the benchmark. Put what is printed into the recipe.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior import VBLE, FitSettings, LatentPosterior, PosteriorMixture
from imaging.posterior.fitted import pooled
from imaging.posterior.sharpness import sharpness
from imaging.priors import DEFAULT_PRIOR, load_prior
from imaging.priors.calibration import Calibration
from imaging.restoration.method import torch_device
from scripts.command import command
from scripts.release.conformal import WIDTHS, covered, recipe_lines
from scripts.scenes import Array, Scenes, coarse
from scripts.sensors import Trial, sensors, trials
from scripts.split import frames, tiles

LEVELS = {0.90: 1.644854, 0.95: 1.959964}
LEAST_IMAGE_PART = 0.05
BLOCK, SAMPLES = 4, 16
KINDS = {"tile": 3.0, "linear": 1.0, "coarse": 1.0, "frame": 2.0}
"""Weight of each kind of scene."""
EDGES, CENTRES = (0.2, 0.4, 0.6, 0.8), (0.1, 0.3, 0.5, 0.7, 0.95)
"""Groups of latent frequencies, over that of Nyquist."""


class Variances(NamedTuple):
    """Squared errors of pixels, or of means over blocks, the parts of their variance, and the sharpness around them; ``(C, H, W)``.

    The disagreement of the lattices' means counts in full; the latents of each group of frequencies, first axis of ``latent``, and the
    image-space part get factors.
    """

    error: Array
    between: Array
    latent: Array
    image: Array
    sharpness: Array

    def away(self, factors: Calibration, scale: float) -> Array:
        """Errors over their deviations."""
        places = None if len(self.latent) == 1 else torch.tensor(CENTRES).square()
        scales, sharp = torch.full((1, 1, 1, 1), scale), torch.from_numpy(self.sharpness)[None]
        latent = factors.factors(scales, places, sharp.float())[0][0].numpy()[:, None]
        variance = self.between + (latent * self.latent).sum(0) + factors.image * self.image
        return np.asarray(np.sqrt(self.error / variance).ravel())


class Parts(NamedTuple):
    """What one trial gives: rate scale, and the variances of pixels and of means over blocks."""

    scale: float
    pixels: Variances
    blocks: Variances


def scenes(data: Path, bands: int, part: int) -> Scenes:
    """Calibration scenes ``(bands, H, W)``, 256 or 272 pixels square: every other tile and frame from the first or the second."""
    return dict([*tiles(data, "calibration", bands).items()][part::2] + [*frames(data, "calibration", bands, 272).items()][part::2])


def room(model: VBLE) -> int:
    """Pixels of unknown scene around the measurement: the PSF's radius and the decoder's border, in whole blocks."""
    return -(-(model.prior.border + 6) // BLOCK) * BLOCK


def groups(posterior: LatentPosterior, block: int) -> torch.Tensor:
    """Share of each group of frequencies in the variance of the decoder's linear part, ``(G, B, C, H, W)``; one group without one."""
    square, prior = posterior.prior.squared_frequency(), posterior.prior
    variance = posterior.family.variance()
    if square is None or prior.linear_variance(variance[..., :1, :1], block) is None:
        return torch.ones(1, 1, 1, 1, 1)
    group = torch.bucketize(square.sqrt(), torch.tensor(EDGES)).to(variance.device)
    found = [prior.linear_variance(variance * (group == k)[:, None, None], block) for k in range(len(EDGES) + 1)]
    cropped = torch.stack([posterior.frame.crop(f, block) for f in found if f is not None])
    return cropped / cropped.sum(0)


def sharpness_map(posterior: LatentPosterior, block: int) -> Tensor:
    """Sharpness around each pixel or block of the scene, ``(B, 1, H, W)``."""
    prior = posterior.prior
    with torch.no_grad():
        around = sharpness(prior.decode(posterior.family.centre) / posterior.rate_scale, prior.stride)
    wide = F.interpolate(around, scale_factor=prior.stride, mode="bilinear", align_corners=False)
    return F.avg_pool2d(posterior.frame.crop(wide), block)


def variances(t: Trial, model: VBLE, mixture: PosteriorMixture, block: int) -> Variances:
    """Of one trial's pixels or blocks."""
    margin = room(model)
    parts_, samples = mixture.parts, max(2, SAMPLES // len(mixture.parts))
    found = [p.moments(samples, block) for p in parts_]
    latent = [replace(p, calibration=(1.0, 0.0)).moments(samples, block).std.square() for p in parts_]
    mean = torch.stack([m.mean for m in found]).mean(0)
    error = t.scored(mean, margin, block) - t.wanted(margin, block)
    between = pooled(torch.stack([(m.mean - mean).square() for m in found]).mean(0))
    image = torch.stack([m.std.square() - v for m, v in zip(found, latent, strict=True)]).mean(0)
    shares = torch.stack([v * groups(p, block) for v, p in zip(latent, parts_, strict=True)]).mean(0)
    sharp = torch.stack([sharpness_map(p, block) for p in parts_]).mean(0)
    by_group = np.stack([t.scored(s, margin, block) for s in shares])
    return Variances(error**2, t.scored(between, margin, block), by_group, *(t.scored(v, margin, block) for v in (image, sharp)))


def parts(t: Trial, model: VBLE) -> Parts:
    """Fit one trial."""
    device = next(model.prior.parameters()).device
    mixture = model.fit_mixture(t.y.to(device), t.physics(room(model)).to(device), border=0)
    return Parts(float(mixture.parts[0].rate_scale.mean()), *(variances(t, model, mixture, block) for block in (1, BLOCK)))


def share(p: Parts, factors: Calibration, z: float, *, blocks: bool = False) -> float:
    """Share of a scene's pixels, or blocks, within ``z`` standard deviations."""
    return float(((p.blocks if blocks else p.pixels).away(factors, p.scale) <= z).mean())


def missed(found: list[dict[str, Parts]], factors: Calibration) -> Array:
    """Shares of missed pixels ``(scenes, len(WIDTHS))``, a scene's being its mean over the sensors."""
    return np.array([1 - np.mean([covered(np.sort(f[s].pixels.away(factors, f[s].scale)), WIDTHS) for f in found], 0) for s in found[0]])


def coverages(found: dict[str, Parts], factors: Calibration) -> dict[tuple[float, bool, str], float]:
    """Mean coverage of one sensor by level, pixels or blocks, and kind of scene."""
    return {
        (level, blocks, kind): float(np.mean([share(p, factors, z, blocks=blocks) for n, p in found.items() if n.startswith(kind)]))
        for level, z in LEVELS.items()
        for blocks in (False, True)
        for kind in dict.fromkeys(name.split()[0] for name in found)
    }


def line(found: dict[str, Parts], factors: Calibration) -> str:
    """Coverage of pixels and of blocks at each level, by kind of scene."""
    met, names = coverages(found, factors), {False: "pixels", True: f"{BLOCK} x {BLOCK}"}
    said = {(blocks, kind): "/".join(f"{met[level, blocks, kind]:.3f}" for level in LEVELS) for _, blocks, kind in met}
    return "; ".join(
        f"{name} " + ", ".join(f"{k} {text}" for (b, k), text in said.items() if b == blocks) for blocks, name in names.items()
    )


def best_factors(found: dict[str, dict[str, Parts]]) -> Calibration:
    """Factors with the least squared error of the coverages by kind of scene, by a simplex search over their logarithms."""

    def calibration(v: Array) -> Calibration:
        low, high, image = (float(f) for f in np.exp(v[:3]))
        return Calibration(low, high, LEAST_IMAGE_PART + image, float(v[3]), float(v[4]))

    def loss(v: Array) -> float:
        factors = calibration(v)
        return sum(KINDS[k] * (met - level) ** 2 for f in found.values() for (level, _, k), met in coverages(f, factors).items())

    start = np.array([0.3, -0.6, -2.5, 0.1, 1.0])
    simplex = np.vstack([start, start + 0.4 * np.eye(5)])
    found_ = minimize(loss, start, method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 400, "xatol": 0.01, "fatol": 1e-7})
    return Calibration(*(round(f, 3) for f in calibration(found_.x)))


def main() -> None:
    """Parse, fit, print."""
    parser = command(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", default=DEFAULT_PRIOR)
    parser.add_argument("--factors-only", action="store_true", help="without the guaranteed half-widths, which take four times as long")
    arguments = parser.parse_args()
    model = VBLE(load_prior(arguments.prior, torch_device("auto")), FitSettings(calibrated=False))
    bands = model.prior.channels

    def fitted(chosen_scenes: Scenes, seed: int) -> dict[str, dict[str, Parts]]:
        found: dict[str, dict[str, Parts]] = {}
        for key, t in trials(chosen_scenes, sensors(bands), seed):
            found.setdefault(key["sensor"], {})[key["scene"]] = parts(t, model)
        return found

    first = scenes(arguments.data, bands, 0)
    some = [name.split()[1] for name in first][:4]
    first |= {f"linear {k}": first[f"tile {k}"] ** 2 for k in some} | {f"coarse {k}": coarse(first[f"tile {k}"]) for k in some}
    found = fitted(first, 100)
    best = best_factors(found)
    for factors in (Calibration(), best):
        for name, f in found.items():
            scale = np.mean([p.scale for p in f.values()])
            print(f"{name}, rate scale {scale:.2f}, factors {tuple(factors)}: {line(f, factors)}", flush=True)
    print(
        f"\n[calibration]    # factors on the posterior variance, by scripts/release/prior.py\nlatent_variance = {best.latent}\n"
        f"latent_variance_high = {best.latent_high}\nlatent_exponent = {best.exponent}\n"
        f"sharpness_exponent = {best.sharpness}\nimage_variance = {best.image}"
    )
    if arguments.factors_only:
        return
    others = fitted(scenes(arguments.data, bands, 1), 200)
    print("\n" + "\n".join(recipe_lines(missed(list(others.values()), best), "scripts/release/prior.py")))
    for name, f in others.items():
        print(f"# other scenes, {name}: {line(f, best)}")


if __name__ == "__main__":
    main()
