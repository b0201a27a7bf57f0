"""One factor on the deviations of a pass, and intervals with a finite-sample guarantee, from calibration scenes.

    python -m scripts.release.amortised --data DATA_FOLDER [--network NAME|DIR] [--write]

Scenes and sensors are those of the benchmark `amortised` with --use calibration, in as many bands as the network has. The factor, the
same for all scenes and sensors, is that whose mean coverages come nearest to what they should be, in squares: of pixels by 90 and 95 %
intervals, of means over 4 x 4 and 16 x 16 pixels by 95 % intervals. Half-widths follow by conformal risk control (`conformal`), a scene's
share of missed pixels being its mean over the sensors. Both tables are printed, and with --write put into the network's recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imaging.amortised import DEFAULT_NETWORK, AmortisedReconstructor, find_network, load_network
from scripts.command import command
from scripts.release.conformal import WIDTHS, covered, recipe_lines
from scripts.scenes import Array
from scripts.sensors import sensors, strangers, trials
from scripts.split import of_split

FACTORS = np.arange(0.8, 1.2, 0.005).round(3)
AIMS = ((1, 0.90, 1.645), (1, 0.95, 1.96), (4, 0.95, 1.96), (16, 0.95, 1.96))
"""Sides of blocks, levels, and half-widths of a Gaussian."""


def away(model: AmortisedReconstructor, truth: Array, seed: int) -> list[dict[int, Array]]:
    """For each sensor, errors of a scene's block means over their deviations, ascending, by the side of the blocks."""
    found = []
    for _, t in trials({"": truth}, sensors() | strangers(), seed):
        posterior = model.fit(t.y, t.physics(), margins=False)
        scores = {}
        for block in sorted({b for b, *_ in AIMS}):
            mean, std = (t.scored(v, 0, block) for v in posterior.moments(block=block))
            scores[block] = np.sort((np.abs(mean - t.wanted(0, block)) / std).ravel())
        found.append(scores)
    return found


def best_factor(found: list[list[dict[int, Array]]]) -> tuple[float, list[float]]:
    """The factor, and the mean coverages with it."""
    means = np.array([np.mean([covered(s[b], FACTORS * width) for scene in found for s in scene], 0) for b, _, width in AIMS])
    missed = np.square(means - np.array([level for _, level, _ in AIMS])[:, None]).sum(0)
    best = int(missed.argmin())
    return float(FACTORS[best]), means[:, best].tolist()


def reached(means: Sequence[float]) -> str:
    """What coverages a factor reaches, in words."""
    return ", ".join(f"{m:.3f} for {level}{'' if b == 1 else f' of {b} x {b}'}" for (b, level, _), m in zip(AIMS, means, strict=True))


def calibration_lines(factor: float, means: list[float], found: list[list[dict[int, Array]]], script: str) -> list[str]:
    """The recipe's tables of a factor, its mean coverages, and the guaranteed half-widths of scenes."""
    lines = [f"[calibration]    # by {script}", f"deviation = {factor}    # coverages with it: {reached(means)}"]
    missed = np.array([1 - np.mean([covered(s[1], factor * WIDTHS) for s in scene], 0) for scene in found])
    return [*lines, "", *recipe_lines(missed, script)]


def write_calibration(folder: Path, lines: list[str]) -> None:
    """Put the tables at the end of a recipe, in place of former ones."""
    path = folder / "recipe.toml"
    text = path.read_text(encoding="utf-8").split("\n[calibration]")[0].split("\n[conformal]")[0].rstrip()
    path.write_text(text + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Parse, measure, print."""
    parser = command(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default=DEFAULT_NETWORK)
    parser.add_argument("--write", action="store_true", help="put the tables into the recipe")
    a = parser.parse_args()
    network = load_network(a.network)
    network.factor = 1.0
    model = AmortisedReconstructor(network)
    truths = of_split(a.data, "calibration", network.settings.channels)
    found = [away(model, x, 900 + k) for k, x in enumerate(truths.values())]
    factor, means = best_factor(found)
    lines = calibration_lines(factor, means, found, "scripts/release/amortised.py")
    print("\n".join(lines))
    if a.write:
        write_calibration(find_network(a.network).folder, lines)


if __name__ == "__main__":
    main()
