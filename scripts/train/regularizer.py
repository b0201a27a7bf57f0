"""Learn a regulariser from a TOML recipe; interrupt and run the same command again to resume.

python -m scripts.train.regularizer models/wcrr/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/wcrr]
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from imaging.bilevel import LowerLevel, Patches, PatchSettings, StochasticSettings, StochasticState, denoise, stochastic
from imaging.bilevel.zoo import load_regularizer, make_regularizer, save_regularizer
from imaging.training import find_images
from scripts import split
from scripts.command import read_table, save_checkpoint
from scripts.scenes import grey, middles
from scripts.train.common import Notes, told, training

LEVELS = (5, 15, 25)


def quality(lower: LowerLevel, theta: Tensor, truth: Tensor) -> dict[str, float]:
    """Mean PSNR (dB) over validation images at each noise level."""
    found = {}
    for level in LEVELS:
        drawn = torch.randn(truth.shape, generator=torch.Generator(truth.device).manual_seed(level), device=truth.device)
        error = denoise(lower, truth + level / 255 * drawn, theta, level / 255) - truth
        found[f"psnr_{level}"] = float(-10 * error.square().mean((1, 2, 3)).log10().mean())
    return found


def main() -> None:
    """Learn, release."""
    parser = training(__doc__)
    parser.add_argument("--start", type=Path, help="regulariser of the same kind that the learning starts from")
    parser.add_argument("--minutes", type=float, help="learn for so long instead of the recipe's steps")
    parser.add_argument("--every", type=float, default=60, help="seconds between validations")
    parser.add_argument("--release", type=Path, help="write the regulariser into this folder when done")
    arguments = parser.parse_args()
    recipe = read_table(arguments.recipe)
    device, data = torch.device(arguments.device), split.applied(recipe.values["data"], arguments.data)
    regularizer = make_regularizer(recipe)
    theta = regularizer.start(**recipe.values.get("start", {}))
    notes: Notes = {"device": arguments.device} | split.noted(recipe.values["data"])
    if arguments.start:
        started = load_regularizer(str(arguments.start))
        theta = started.theta
        notes["start_sha256"] = started.digest
    settings = recipe.under("learning").make(StochasticSettings)
    lower = LowerLevel(regularizer, crowd=0.5)
    patches = recipe.under("patches").make(PatchSettings)
    images, tests = ([grey(i).to(device) for i in find_images(arguments.data, data[use])] for use in ("train", "validation"))
    problems = Patches(images, patches, lower)
    validation = middles(tests[:: data.get("validation_every", 1)], 192)
    state, elapsed = StochasticState.begin(theta.to(device)), 0.0
    arguments.work.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        state.load_state_dict(saved["state"])
        elapsed = saved["elapsed"]
        print(f"resumed at step {state.step}")
    recent: list[dict[str, float]] = []
    began, last = time.monotonic() - elapsed, -1e9

    def report() -> None:
        line = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]} if recent else {}
        line |= {"step": state.step, "seconds": round(elapsed)} | quality(lower, state.mean, validation)
        line["curvature"] = regularizer.curvature(state.mean)
        tqdm.write(told(line))
        if recent:
            with (arguments.work / "log.csv").open("a", newline="") as handle:
                writer = csv.DictWriter(handle, list(line))
                if not handle.tell():
                    writer.writeheader()
                writer.writerow(line)
        save_checkpoint({"state": state.state_dict(), "elapsed": elapsed}, checkpoint)
        recent.clear()

    progress = (lambda: elapsed / (60 * arguments.minutes)) if arguments.minutes else None
    for figures in tqdm(stochastic(problems, state, settings, regularizer.groups(), progress), mininterval=30):
        recent.append(figures)
        elapsed = time.monotonic() - began
        if elapsed - last > arguments.every:
            last = elapsed
            report()
    report()
    if arguments.release:
        notes |= {"steps": state.step, "minutes": round(elapsed / 60, 1)}
        text = arguments.recipe.read_text(encoding="utf-8")
        print(f"released {arguments.release}, SHA-256 {save_regularizer(regularizer, state.mean, arguments.release, text, notes)}")


if __name__ == "__main__":
    main()
