"""Denoise the BSD68 test images with the released regularisers at three noise levels, and time a 512 x 512 image.

    python scripts/benchmark_denoising.py --data DATA_FOLDER [--regularizers NAME ...] [--images N] [--output table.md]

White noise of standard deviation 5, 15 and 25 grey levels of 255 with a fixed seed for each image; PSNR of unclipped results, its mean over
the images. Solved to a certified root mean square distance of 1e-3; the weights follow the noise by the regularisers' own rule, nothing is
tuned here. The timed image is the middle of a Kodak photograph with noise 25.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from learn_regularizer import centres, grey
from torch import Tensor

from imaging.bilevel import LowerLevel, denoise
from imaging.bilevel.patches import first_guess
from imaging.bilevel.zoo import LearnedRegularizer, load_regularizer
from imaging.metrics import psnr
from imaging.training import read_image

LEVELS = (5, 15, 25)
ACCURACY = 1e-3


def noisy(truth: Tensor, level: int, seed: int) -> Tensor:
    """An image with white noise."""
    return truth + level / 255 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1000 * level + seed))


def quality(learned: LearnedRegularizer, images: list[Tensor], level: int) -> float:
    """Mean PSNR (dB)."""
    lower, found = LowerLevel(learned.regularizer), []
    for seed, truth in enumerate(images):
        x = denoise(lower, noisy(truth, level, seed), learned.theta, level / 255, ACCURACY)
        found.append(psnr(x[0].numpy(), truth[0].numpy(), 1.0))
    return float(np.mean(found))


def timed(learned: LearnedRegularizer, truth: Tensor) -> tuple[float, int, bool]:
    """Seconds, iterations and whether the certified distance was reached; median of three."""
    y, runs = noisy(truth, 25, 0), []
    learned.regularizer.noise = 25 / 255
    for _ in range(3):
        began = time.perf_counter()
        start = first_guess(y, 25 / 255)
        solution = LowerLevel(learned.regularizer).solve(y, learned.theta, ACCURACY * truth.numel() ** 0.5, start)
        runs.append((time.perf_counter() - began, int(solution.iterations), bool(solution.converged)))
    return sorted(runs)[1]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--regularizers", nargs="+", default=["tv-bsd", "foe-bsd", "crr-bsd", "wcrr-bsd"])
    parser.add_argument("--images", type=int, help="only the first so many")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    paths = sorted((arguments.data / "bsd68_gray").glob("*.png"))[: arguments.images]
    images = [torch.from_numpy(grey(read_image(p)))[None, None] for p in paths]
    photograph = torch.from_numpy(grey(read_image(sorted((arguments.data / "kodak24").glob("*.png"))[6])))
    middle = centres([photograph], 512)
    lines = [
        f"{len(images)} images; {torch.get_num_threads()} threads.", "",
        "| regulariser | parameters | 5/255 | 15/255 | 25/255 | 512 x 512: s | gradients | distance 1e-3 certified |", "|" + "---|" * 8,
    ]  # fmt: skip
    for name in arguments.regularizers:
        learned = load_regularizer(name)
        seconds, iterations, reached = timed(learned, middle)
        figures = " | ".join(f"{quality(learned, images, level):.2f}" for level in LEVELS)
        lines.append(
            f"| {learned.name} | {learned.regularizer.size} | {figures} | {seconds:.2f} | {iterations} | {'yes' if reached else 'no'} |"
        )
        print(lines[-1], flush=True)
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
