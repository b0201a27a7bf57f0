"""One factor on the deviations of a network of bundles, and intervals with a finite-sample guarantee, from calibration scenes.

    python -m scripts.release.fusion --data DATA_FOLDER [--network NAME|DIR] [--write]

Tiles of the calibration split, seen by the bundles of the benchmark `fusion` that are told right. The factor and the half-widths follow as
those of `scripts.release.amortised`. With --write they are put into the network's recipe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imaging.amortised import find_fusion
from scripts.bench.fusion import ours
from scripts.bundles import CASES, bundles
from scripts.command import command
from scripts.release.amortised import AIMS, best_factor, calibration_lines, write_calibration
from scripts.scenes import Array
from scripts.split import tiles

TOLD_RIGHT = ("nominal", "sharp", "dim", "half", "beyond")


def main() -> None:
    """Parse, measure, print."""
    parser = command(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default="rgbn-fusion")
    parser.add_argument("--write", action="store_true", help="put the tables into the recipe")
    a = parser.parse_args()
    scenes = tiles(a.data, "calibration", 4)
    known = find_fusion(a.network)
    former = known.recipe.under("calibration").number("deviation", 1.0, 1e-6, 1e6)
    found: dict[str, list[dict[int, Array]]] = {name: [] for name in scenes}
    for key, bundle in bundles(scenes, {n: CASES[n] for n in TOLD_RIGHT}, 900):
        result = ours("amortised", bundle, a.network)
        assert result.posterior is not None
        scores = {}
        for block in sorted({b for b, *_ in AIMS}):
            mean, std = (bundle.scored(v[0], block) for v in result.posterior.moments(block=block))
            scores[block] = np.sort((former * np.abs(mean - bundle.wanted(block)) / std).ravel())
        found[key["scene"]].append(scores)
    per_scene = list(found.values())
    factor, means = best_factor(per_scene)
    lines = calibration_lines(factor, means, per_scene, "scripts/release/fusion.py")
    print("\n".join(lines))
    if a.write:
        write_calibration(known.folder, lines)


if __name__ == "__main__":
    main()
