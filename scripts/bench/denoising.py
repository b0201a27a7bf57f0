"""Denoise the BSD68 test images with the released regularisers at three noise levels, and time a 512 x 512 image.

    python -m scripts.bench denoising --data DATA_FOLDER [--regularizers NAME ...] [--images N]

White noise of standard deviation 5, 15 and 25 grey levels of 255 with a fixed seed for each image; PSNR of unclipped results, its mean over
the images. Solved to a certified root mean square distance of 1e-3; the weights follow the noise by the regularisers' own rule, nothing is
tuned here. The timed image is the middle of a Kodak photograph with noise 25.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from imaging.bilevel import LowerLevel, denoise
from imaging.bilevel.patches import first_guess
from imaging.bilevel.zoo import LearnedRegularizer, load_regularizer
from imaging.metrics import psnr
from scripts.bench.results import Results
from scripts.bench.tables import Record, one_table
from scripts.scenes import middles
from scripts.split import photographs

LEVELS = (5, 15, 25)
ACCURACY = 1e-3
OPTIONS = {
    "--data": {}, "--regularizers": {"nargs": "+", "default": ["tv-bsd", "foe-bsd", "crr-bsd", "wcrr-bsd"]},
    "--images": {"type": int, "help": "only the first so many"},
}  # fmt: skip


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


def timed(learned: LearnedRegularizer, truth: Tensor) -> Record:
    """Seconds, iterations and whether the certified distance was reached; median of three."""
    y, runs = noisy(truth, 25, 0), []
    learned.regularizer.noise = 25 / 255
    for _ in range(3):
        began = time.perf_counter()
        start = first_guess(y, 25 / 255)
        solution = LowerLevel(learned.regularizer).solve(y, learned.theta, ACCURACY * truth.numel() ** 0.5, start)
        runs.append((time.perf_counter() - began, int(solution.iterations), "yes" if solution.converged else "no"))
    return dict(zip(("seconds", "gradients", "certified"), sorted(runs)[1], strict=True))


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All regularisers."""
    found = photographs(arguments.data, "test", "bsd", in_grey=True, part=slice(arguments.images))
    images = [torch.from_numpy(x)[None] for x in found.values()]
    photograph = middles([torch.from_numpy(photographs(arguments.data, "tuning", "kodak", in_grey=True)["kodak 7"][0])], 512)

    def measured(learned: LearnedRegularizer) -> Record:
        scores = {f"psnr_{level}": quality(learned, images, level) for level in LEVELS}
        return {"parameters": learned.regularizer.size} | scores | timed(learned, photograph)

    for learned in map(load_regularizer, arguments.regularizers):
        results.once({"regulariser": learned.name}, measured, learned)


COLUMNS = {"parameters": ("parameters", ".0f")} | {f"psnr_{level}": (f"{level}/255", ".2f") for level in LEVELS}
COLUMNS |= {"seconds": ("512 x 512: s", ".1f"), "gradients": ("gradients", ".0f"), "certified": ("distance 1e-3 certified", "")}
tables = one_table({"regulariser": "regulariser"}, COLUMNS)
