"""See whether a factor on a regulariser's weight would suit sensors or denoising better, on images for tuning alone.

    python -m scripts.release.regularizer wcrr --data DATA_FOLDER [--factors 0.5 0.7 1 1.4] [--noise 5 15 25]

First the mean PSNR (dB) over the first four NAIP tiles for tuning and the three sensors of the benchmarks for factors on the weight that
follows from sensor, noise and contrast, as imaging-restore minimises: the best one is a factor on `weight` of the recipe's [restoration].
Then for white noise (grey levels of 255) the factor on the weight that denoises best, by a parabola through the best three of a
geometric series.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from deepinv.physics import Denoising, GaussianNoise

from imaging.bilevel import LearnedRegularizer, RegularizedReconstructor, load_regularizer
from imaging.metrics import psnr
from scripts.bench.tables import table
from scripts.command import command
from scripts.scenes import MARGIN
from scripts.sensors import sensors, trials
from scripts.split import tiles

SERIES = 2.0 ** np.arange(-2, 2.25, 0.5)


def behind_sensors(learned: LearnedRegularizer, data: Path, factor: float) -> float:
    """Mean PSNR (dB)."""
    reconstructor, some = RegularizedReconstructor(learned, weight=factor), trials(tiles(data, "tuning", part=slice(4)), sensors(), 0)
    return float(np.mean([t.quality(reconstructor(t.y, t.physics()), MARGIN) for _, t in some]))


def denoising(learned: LearnedRegularizer, data: Path, level: float) -> float:
    """Factor that denoises best."""
    physics = Denoising(GaussianNoise(level / 255))
    truths = [torch.from_numpy(t)[None] for t in tiles(data, "tuning", part=slice(2)).values()]
    generator = torch.Generator().manual_seed(round(level))
    measured = [t + level / 255 * torch.randn(t.shape, generator=generator) for t in truths]
    scores = []
    for factor in SERIES:
        reconstructor = RegularizedReconstructor(learned, weight=float(factor))
        found = [psnr(reconstructor(y, physics)[0].numpy(), t[0].numpy(), 1.0) for y, t in zip(measured, truths, strict=True)]
        scores.append(float(np.mean(found)))
    k = int(np.clip(np.argmax(scores), 1, len(scores) - 2))
    left, middle, right = scores[k - 1 : k + 2]
    return float(SERIES[k] * 2 ** (0.25 * (left - right) / min(left - 2 * middle + right, -1e-9)))


def main() -> None:
    """Measure, print."""
    parser = command(__doc__)
    parser.add_argument("regularizer")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--factors", type=float, nargs="*", default=[0.5, 0.7, 1.0, 1.4])
    parser.add_argument("--noise", type=float, nargs="*", default=[5.0, 15.0, 25.0])
    arguments = parser.parse_args()
    learned = load_regularizer(arguments.regularizer)
    behind = [[f"{factor:g}", f"{behind_sensors(learned, arguments.data, factor):.2f}"] for factor in arguments.factors]
    print(table(["factor", "PSNR behind sensors"], behind), end="\n\n", flush=True)
    best = [[f"{level:g}", f"{denoising(learned, arguments.data, level):.2f}"] for level in arguments.noise]
    print(table(["noise", "best factor for denoising"], best))


if __name__ == "__main__":
    main()
