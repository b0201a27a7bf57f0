"""Intervals of the pass with a finite-sample guarantee: half-widths by conformal risk control on calibration scenes.

    python scripts/calibrate_amortised.py --data DATA_FOLDER [--network NAME|DIR]

The scene is the exchangeable unit (Angelopoulos et al., ICLR 2024): the least half-width in standard deviations for which the mean share of
missed pixels over n scenes, times n / (n + 1), plus 1 / (n + 1), is at most 1 - level. Scenes and sensors are those of
scripts/benchmark_amortised.py --use calibration; a scene's share is its mean over the sensors. Put what is printed into the recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from benchmark_amortised import MARGIN, SCORED, scenes, sensors

from imaging.amortised import DEFAULT_NETWORK, AmortisedReconstructor, load_network

LEVELS = (0.90, 0.95)
WIDTHS = np.arange(0.5, 12, 0.02).round(2)


def missed(model: AmortisedReconstructor, truth: np.ndarray, seed: int) -> np.ndarray:
    """Share of a scene's pixels that are further away than each of `WIDTHS`, a mean over the sensors."""
    found = []
    for sensor in sensors().values():
        physics = sensor.physics(MARGIN)
        posterior = model.fit(physics(torch.from_numpy(truth)[None], seed=seed), physics, margins=False)
        inner = torch.from_numpy(truth)[None, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        away = ((posterior.image - inner).abs() / posterior.deviation)[..., SCORED:-SCORED, SCORED:-SCORED].flatten().sort().values
        found.append(1 - np.searchsorted(away.numpy(), WIDTHS, side="right") / len(away))
    return np.mean(found, 0)


def half_width(shares: np.ndarray, level: float) -> float:
    """Half-width for shares ``(n, len(WIDTHS))`` of n scenes; infinite where there are too few."""
    n = len(shares)
    held = (shares.sum(0) + 1) / (n + 1) <= 1 - level
    return float(WIDTHS[held][0]) if held.any() else float("inf")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default=DEFAULT_NETWORK)
    a = parser.parse_args()
    model = AmortisedReconstructor(load_network(a.network))
    shares = np.array([missed(model, x, 900 + k) for k, x in enumerate(scenes(a.data, "calibration").values())])
    print(f"[conformal]    # half-widths in standard deviations, by scripts/calibrate_amortised.py\nscenes = {len(shares)}")
    for level in LEVELS:
        width = half_width(shares, level)
        met = 1 - shares.mean(0)[WIDTHS == width].mean()
        print(f"level_{100 * level:.0f} = {width}    # covers {met:.3f} here; of a new scene's pixels at least {level} are expected")


if __name__ == "__main__":
    main()
