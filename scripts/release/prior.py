"""Calibrate a prior's posteriors on calibration scenes: one factor on the variance of the latents, and intervals with a guarantee.

    python -m scripts.release.prior --data DATA_FOLDER --work FOLDER [--prior NAME|DIR] [--write]

Scenes are those of the calibration split, in as many bands as the prior has and up to three with photographs, seen by the benchmarks' three
sensors. The factor, the same for all scenes and sensors, is that whose mean coverages come nearest to what they should be, in squares, each
kind of scene counting alike: of pixels by 90 and 95 % intervals, of means over 4 x 4 and 16 x 16 pixels by 95 % intervals. Half-widths
follow by conformal risk control (`conformal`), a scene's share of missed pixels being its mean over the sensors. Both tables are printed,
and with --write put into the prior's recipe. What was measured is kept in the work folder, where the same command goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from imaging.posterior import VBLE, FitSettings
from imaging.priors import DEFAULT_PRIOR, load_prior
from imaging.priors.zoo import find_prior
from imaging.restoration.method import torch_device
from scripts.command import command
from scripts.release.amortised import AIMS, reached, write_calibration
from scripts.release.conformal import WIDTHS, covered, recipe_lines
from scripts.scenes import MARGIN, Array, Scenes, middle
from scripts.sensors import SCORED, Trial, sensors, trials
from scripts.split import of_split, photographs

FACTORS = np.arange(0.6, 1.6, 0.01).round(2)
SAMPLES = 32
SIDE = 256 + 2 * MARGIN
EIGHTH = slice(None, None, 8)


class Variances(NamedTuple):
    """Absolute errors of pixels, or of means over blocks, the parts of their variance that stay, and that of the latents; ``(N,)``."""

    error: Array
    fixed: Array
    latent: Array

    def away(self, factor: float) -> Array:
        """Errors over their deviations, ascending."""
        return np.sort(self.error / np.sqrt(self.fixed + factor * self.latent))


Blocks = dict[int, Variances]
"""By the side of the blocks, 1 for pixels."""


def variances(t: Trial, model: VBLE) -> Blocks:
    """Of one trial; a fit with the margins that its blocks fit into."""
    sides = sorted({b for b, *_ in AIMS})
    margin = -(-(model.prior.border + SCORED) // sides[-1]) * sides[-1]
    device = next(model.prior.parameters()).device
    whole = model.fit_mixture(t.y.to(device), t.physics(margin).to(device), border=0)
    found = {}
    for side in sides:
        mean, latents, image, between = (t.scored(v, margin, side).ravel() for v in whole.variances(SAMPLES, side))
        found[side] = Variances(np.abs(mean - t.wanted(margin, side).ravel()), image + between, latents)
    return found


def scenes(data: Path, bands: int) -> Scenes:
    """Those of the calibration split, no larger than 256 x 256 measured pixels."""
    found = of_split(data, "calibration", bands)
    if bands <= 3:
        found |= photographs(data, "calibration", "bsd", in_grey=bands == 1, part=EIGHTH)
    return {name: np.ascontiguousarray(middle(x, min(SIDE, *x.shape[1:]))) for name, x in found.items()}


def kept(path: Path, t: Trial, model: VBLE) -> Blocks:
    """What was measured of a trial, from its file or now."""
    if not path.exists():
        found = variances(t, model)
        part = path.with_suffix(".part.npz")
        np.savez(part, **{f"{side}.{name}": v.astype(np.float32) for side, b in found.items() for name, v in b._asdict().items()})
        part.replace(path)
    with np.load(path) as arrays:
        sides = dict.fromkeys(int(name.split(".")[0]) for name in arrays.files)
        return {side: Variances(*(arrays[f"{side}.{name}"] for name in Variances._fields)) for side in sides}


def coverages(found: list[tuple[str, Blocks]], factor: float) -> Array:
    """Mean coverage of each aim, kinds of scenes counting alike."""
    kinds = dict.fromkeys(name.split()[0] for name, _ in found)
    scores = [(name.split()[0], {side: v.away(factor) for side, v in blocks.items()}) for name, blocks in found]
    return np.array([
        np.mean([np.mean([float(covered(s[side], width)) for k, s in scores if k == kind]) for kind in kinds]) for side, _, width in AIMS
    ])  # fmt: skip


def best_factor(found: list[tuple[str, Blocks]]) -> float:
    """The factor whose coverages come nearest to what they should be."""
    levels = np.array([level for _, level, _ in AIMS])
    missed = [float(np.square(coverages(found, f) - levels).sum()) for f in FACTORS]
    return float(FACTORS[int(np.argmin(missed))])


def missed_shares(found: list[tuple[str, Blocks]], factor: float) -> Array:
    """Shares of missed pixels ``(scenes, len(WIDTHS))``, a scene's being its mean over the sensors."""
    names = dict.fromkeys(name for name, _ in found)
    return np.array([1 - np.mean([covered(b[1].away(factor), WIDTHS) for n, b in found if n == name], 0) for name in names])


def main() -> None:
    """Parse, fit, print."""
    parser = command(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of what was measured, by one prior")
    parser.add_argument("--prior", default=DEFAULT_PRIOR)
    parser.add_argument("--factor", type=float, help="this one, without looking for the best; 1 for none")
    parser.add_argument("--write", action="store_true", help="put the tables into the recipe")
    a = parser.parse_args()
    model = VBLE(load_prior(a.prior, torch_device("auto")), FitSettings(calibrated=False))
    bands = model.prior.channels
    a.work.mkdir(parents=True, exist_ok=True)
    found = []
    for k, (key, t) in enumerate(trials(scenes(a.data, bands), sensors(bands), 100)):
        found.append((key["scene"], kept(a.work / f"{k}.npz", t, model)))
        print("  ".join(key.values()), *(f"{v:.3f}" for v in coverages(found[-1:], 1.0)), flush=True)
    factor = a.factor or best_factor(found)
    for f in dict.fromkeys((1.0, factor)):
        print(f"factor {f}: {coverages(found, f).round(3)}")
    met = reached(coverages(found, factor).tolist())
    lines = (
        []
        if factor == 1
        else ["[calibration]    # by scripts/release/prior.py", f"latent_variance = {factor}    # coverages with it: {met}", ""]
    )
    lines += recipe_lines(missed_shares(found, factor), "scripts/release/prior.py")
    print("\n".join([f"coverages: {met}", *lines]))
    if a.write:
        write_calibration(find_prior(a.prior).folder, lines)


if __name__ == "__main__":
    main()
