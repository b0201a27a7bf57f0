"""One factor on the deviations of a pass, and intervals with a finite-sample guarantee, from calibration scenes.

    python scripts/calibrate_amortised.py --data DATA_FOLDER [--network NAME|DIR] [--write]

Scenes and sensors are those of scripts/benchmark_amortised.py --use calibration, in as many bands as the network has. The factor, the
same for all scenes and sensors, is that whose mean coverages come nearest to what they should be, in squares: of pixels by 90 and 95 %
intervals, of means over 4 x 4 and 16 x 16 pixels by 95 % intervals. Half-widths follow by conformal risk control, the scene being the
exchangeable unit (Angelopoulos et al., ICLR 2024): the least one, in standard deviations, for which the mean share of missed pixels over
n scenes, times n / (n + 1), plus 1 / (n + 1), is at most 1 - level; a scene's share is its mean over the sensors. Both tables are
printed, and with --write put into the network's recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from benchmark_amortised import MARGIN, SCORED, scenes, sensors
from torch.nn import functional as F

from imaging.amortised import DEFAULT_NETWORK, AmortisedReconstructor, find_network, load_network

LEVELS = (0.90, 0.95)
WIDTHS = np.arange(0.5, 12, 0.02).round(2)
FACTORS = np.arange(0.8, 1.2, 0.005).round(3)
AIMS = ((1, 0.90, 1.645), (1, 0.95, 1.96), (4, 0.95, 1.96), (16, 0.95, 1.96))
"""Sides of blocks, levels, and half-widths of a Gaussian."""


def away(model: AmortisedReconstructor, truth: np.ndarray, seed: int) -> list[dict[int, np.ndarray]]:
    """For each sensor, errors of a scene's block means over their deviations, ascending, by the side of the blocks."""
    found = []
    for sensor in sensors().values():
        physics = sensor.physics(MARGIN)
        posterior = model.fit(physics(torch.from_numpy(truth)[None], seed=seed), physics, margins=False)
        inner = torch.from_numpy(truth)[None, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        scores = {}
        for block in sorted({b for b, *_ in AIMS}):
            mean, std = posterior.moments(block=block)
            score = (mean - F.avg_pool2d(inner, block)).abs() / std
            cut = -(-SCORED // block)
            scores[block] = score[..., cut:-cut, cut:-cut].flatten().sort().values.numpy()
        found.append(scores)
    return found


def covered(scores: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Shares of ascending scores that are within half-widths."""
    return np.searchsorted(scores, widths, side="right") / len(scores)


def best_factor(found: list[list[dict[int, np.ndarray]]]) -> tuple[float, list[float]]:
    """The factor, and the mean coverages with it."""
    means = np.array([np.mean([covered(s[b], FACTORS * width) for scene in found for s in scene], 0) for b, _, width in AIMS])
    missed = np.square(means - np.array([level for _, level, _ in AIMS])[:, None]).sum(0)
    best = int(missed.argmin())
    return float(FACTORS[best]), means[:, best].tolist()


def half_width(shares: np.ndarray, level: float) -> float:
    """Half-width for shares ``(n, len(WIDTHS))`` of missed pixels of n scenes; infinite where there are too few."""
    n = len(shares)
    held = (shares.sum(0) + 1) / (n + 1) <= 1 - level
    return float(WIDTHS[held][0]) if held.any() else float("inf")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default=DEFAULT_NETWORK)
    parser.add_argument("--write", action="store_true", help="put the tables into the recipe")
    a = parser.parse_args()
    network = load_network(a.network)
    network.factor = 1.0
    model = AmortisedReconstructor(network)
    truths = scenes(a.data, "calibration", network.settings.channels)
    found = [away(model, x, 900 + k) for k, x in enumerate(truths.values())]
    factor, means = best_factor(found)
    reached = ", ".join(f"{m:.3f} for {level}{'' if b == 1 else f' of {b} x {b}'}" for (b, level, _), m in zip(AIMS, means, strict=True))
    lines = ["[calibration]    # by scripts/calibrate_amortised.py", f"deviation = {factor}    # coverages with it: {reached}"]
    shares = np.array([1 - np.mean([covered(s[1], factor * WIDTHS) for s in scene], 0) for scene in found])
    lines += ["", "[conformal]    # half-widths in standard deviations, by scripts/calibrate_amortised.py", f"scenes = {len(shares)}"]
    for level in LEVELS:
        width = half_width(shares, level)
        if width == float("inf"):
            lines.append(f"# too few scenes for {level}")
            continue
        met = 1 - shares.mean(0)[WIDTHS == width].mean()
        lines.append(f"level_{100 * level:.0f} = {width}    # covers {met:.3f} here; of a new scene's pixels at least {level} are expected")
    print("\n".join(lines))
    if a.write:
        path = find_network(a.network).folder / "recipe.toml"
        text = path.read_text(encoding="utf-8").split("\n[calibration]")[0].split("\n[conformal]")[0].rstrip()
        path.write_text(text + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
