"""Learn a regulariser from a TOML recipe; interrupt and run the same command again to resume.

python -m scripts.train.regularizer models/wcrr/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/wcrr]
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from imaging.bilevel import (
    Learned,
    LowerLevel,
    MaidSettings,
    Patches,
    PatchSettings,
    StochasticSettings,
    StochasticState,
    denoise,
    fixed,
    maid,
    stochastic,
)
from imaging.bilevel.zoo import load_regularizer, make_regularizer, save_regularizer
from imaging.releases import Table
from imaging.training import find_images
from scripts import split
from scripts.command import read_table, save_checkpoint
from scripts.scenes import grey, middles
from scripts.train.common import Notes, told, training

LEVELS = (5, 15, 25)
FINE = 1e-3
"""Relative tolerance of the linear solves for the hypergradient that a release tells."""


def quality(lower: LowerLevel, theta: Tensor, truth: Tensor) -> dict[str, float]:
    """Mean PSNR (dB) over validation images at each noise level."""
    found = {}
    for level in LEVELS:
        drawn = torch.randn(truth.shape, generator=torch.Generator(truth.device).manual_seed(level), device=truth.device)
        error = denoise(lower, truth + level / 255 * drawn, theta, level / 255) - truth
        found[f"psnr_{level}"] = float(-10 * error.square().mean((1, 2, 3)).log10().mean())
    return found


def learned_by_maid(settings: Table, patches: Patches, theta: Tensor, validation: Tensor, work: Path) -> tuple[Tensor, Notes]:
    """MAID on a fixed set of patches, checkpointed after some steps; parameters, and what a release says of its end."""
    problems, budget, rounds = (
        int(settings.number(key, default, 1, 1e9)) for key, default in (("problems", 8), ("budget", 100_000), ("steps", 200))
    )
    floor, accuracy = settings.number("floor", 1e-6, 1e-12, 1), settings.number("accuracy", 0.3, 1e-9, 1e9)
    free, groups = torch.ones_like(theta), patches.lower.regularizer.groups()
    for name in settings.values.get("kept", []):
        free[groups[name]] = 0
    problem = fixed(patches, problems, theta, free)
    if settings.values.get("double", False):
        problem, theta, validation = problem.double(), theta.double(), validation.double()
    given = MaidSettings(accuracy=accuracy, floor=floor, pairs=int(settings.number("pairs", 10, 0, 100)))
    checkpoint, learned = work / "checkpoint.pt", None
    if checkpoint.exists():
        learned = Learned.from_state_dict(torch.load(checkpoint, map_location=theta.device, weights_only=True))
        print(f"resumed after {len(learned.history)} steps")
    print(told(quality(patches.lower, theta, validation)))
    while learned is None or (learned.status == "iterations" and len(learned.history) < rounds):
        learned = maid(problem, theta if learned is None else learned, given, iterations=5, budget=budget)
        save_checkpoint(learned.state_dict(), checkpoint)
        shown = {k: v[-1] for k, v in learned.table().items() if v}
        print(told({"steps": len(learned.history)} | shown | quality(patches.lower, learned.theta, validation)), learned.status, flush=True)
    if not learned.history:
        raise SystemExit(f"{learned.status}: no step certainly lowers the loss at the finest accuracy; nothing is released")
    last = learned.history[-1]
    ended = problem.hypergradient(problem.solve(learned.theta, last.accuracy), learned.theta, FINE).z
    ends = {
        "loss_low": last.low,
        "loss_high": last.high,
        "hypergradient": float(ended.norm()),
        "first_hypergradient": learned.history[0].gradient,
    }
    notes: Notes = {"method": "maid", "status": learned.status, "steps": len(learned.history), "cost": last.cost, "accuracy": last.accuracy}
    return learned.theta, notes | {k: float(f"{v:.5g}") for k, v in ends.items()}


def learned_stochastically(
    learning: Table, problems: Patches, theta: Tensor, validation: Tensor, arguments: argparse.Namespace
) -> tuple[Tensor, Notes]:  # fmt: skip
    """Adam on hypergradients of patches drawn anew, logged and checkpointed; averaged parameters, and what a release says of it."""
    settings = learning.make(StochasticSettings)
    state, elapsed = StochasticState.begin(theta), 0.0
    regularizer, checkpoint = problems.lower.regularizer, arguments.work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=theta.device, weights_only=True)
        state.load_state_dict(saved["state"])
        elapsed = saved["elapsed"]
        print(f"resumed at step {state.step}")
    recent: list[dict[str, float]] = []
    began, last = time.monotonic() - elapsed, -1e9

    def report() -> None:
        line = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]} if recent else {}
        line |= {"step": state.step, "seconds": round(elapsed)} | quality(problems.lower, state.mean, validation)
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
    return state.mean, {"steps": state.step, "minutes": round(elapsed / 60, 1)}


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
        if "split" in notes:  # what the start has seen the result has seen
            notes["split"] = read_table(arguments.start / "recipe.toml").under("release").get("split", str, "former")
    lower = LowerLevel(regularizer, crowd=0.5)
    patches = recipe.under("patches").make(PatchSettings)
    images, tests = ([grey(i).to(device) for i in find_images(arguments.data, data[use])] for use in ("train", "validation"))
    problems = Patches(images, patches, lower)
    validation = middles(tests[:: data.get("validation_every", 1)], 192)
    arguments.work.mkdir(parents=True, exist_ok=True)
    learning, theta = recipe.under("learning"), theta.to(device)
    if learning.values.get("method") == "maid":
        theta, found = learned_by_maid(learning, problems, theta, validation, arguments.work)
    else:
        theta, found = learned_stochastically(learning, problems, theta, validation, arguments)
    if arguments.release:
        text = arguments.recipe.read_text(encoding="utf-8")
        print(f"released {arguments.release}, SHA-256 {save_regularizer(regularizer, theta, arguments.release, text, notes | found)}")


if __name__ == "__main__":
    main()
