"""Learn a regulariser from a TOML recipe; interrupt and run the same command again to resume.

python scripts/learn_regularizer.py models/wcrr/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/wcrr]
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

from imaging.bilevel import LowerLevel, Patches, PatchSettings, StochasticSettings, StochasticState, denoise, stochastic
from imaging.bilevel.zoo import load_regularizer, make_regularizer, save_regularizer
from imaging.releases import Table
from imaging.training import find_images

LEVELS = (5, 15, 25)


def grey(image: np.ndarray) -> np.ndarray:
    """``(H, W)`` float32 in [0, 1]: luminance of three bands of 8 bits, otherwise the mean of the bands."""
    full = 4095.0 if image.dtype == np.uint16 else 255.0
    pixels = image.astype(np.float32) / full
    if len(pixels) == 3 and image.dtype == np.uint8:
        return np.tensordot(np.float32([0.299, 0.587, 0.114]), pixels, 1)
    return pixels.mean(0)


def images(sources: list[Path], patterns: list[str], device: torch.device) -> list[Tensor]:
    """Grey images of a recipe's patterns."""
    return [torch.from_numpy(grey(i)).to(device) for i in find_images(sources, patterns)]


def centres(found: list[Tensor], side: int = 192) -> Tensor:
    """Middles of images, ``(N, 1, side, side)``."""
    starts = [[(n - side) // 2 for n in i.shape] for i in found]
    return torch.stack([i[r : r + side, c : c + side] for i, (r, c) in zip(found, starts, strict=True)])[:, None]


def quality(lower: LowerLevel, theta: Tensor, truth: Tensor) -> dict[str, float]:
    """Mean PSNR (dB) over validation images at each noise level."""
    found = {}
    for level in LEVELS:
        drawn = torch.randn(truth.shape, generator=torch.Generator(truth.device).manual_seed(level), device=truth.device)
        error = denoise(lower, truth + level / 255 * drawn, theta, level / 255) - truth
        found[f"psnr_{level}"] = float(-10 * error.square().mean((1, 2, 3)).log10().mean())
    return found


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folder that the recipe's patterns start from, or packs")
    parser.add_argument("--work", type=Path, required=True, help="checkpoint and log; an existing checkpoint is resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start", type=Path, help="regulariser of the same kind that the learning starts from")
    parser.add_argument("--minutes", type=float, help="learn for so long instead of the recipe's steps")
    parser.add_argument("--every", type=float, default=60, help="seconds between validations")
    parser.add_argument("--release", type=Path, help="write the regulariser into this folder when done")
    return parser.parse_args()


def main() -> None:
    """Learn, release."""
    arguments = parsed()
    text = arguments.recipe.read_text(encoding="utf-8")
    recipe = Table.parse(text, str(arguments.recipe))
    device, data = torch.device(arguments.device), recipe.values["data"]
    regularizer = make_regularizer(recipe)
    theta = regularizer.start(**recipe.values.get("start", {}))
    notes: dict[str, float | str] = {"device": arguments.device}
    if arguments.start:
        started = load_regularizer(str(arguments.start))
        theta = started.theta
        notes["start_sha256"] = started.digest
    settings = recipe.under("learning").make(StochasticSettings)
    lower = LowerLevel(regularizer, crowd=0.5)
    patches = recipe.under("patches").make(PatchSettings)
    problems = Patches(images(arguments.data, data["train"], device), patches, lower)
    validation = centres(images(arguments.data, data["validation"], device)[:: data.get("validation_every", 1)])
    state, elapsed = StochasticState.begin(theta.to(device)), 0.0
    arguments.work.mkdir(parents=True, exist_ok=True)
    checkpoint, log = arguments.work / "checkpoint.pt", arguments.work / "log.csv"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        state.load_state_dict(saved["state"])
        elapsed = saved["elapsed"]
        print(f"resumed at step {state.step}")
    began, last, recent = time.monotonic() - elapsed, -1e9, []

    def report() -> None:
        line = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]} if recent else {}
        line |= {"step": state.step, "seconds": round(elapsed)} | quality(lower, state.mean, validation)
        line["curvature"] = regularizer.curvature(state.mean)
        tqdm.write("  ".join(f"{k} {v:.5g}" for k, v in line.items()))
        if recent:
            fresh = not log.exists()
            with log.open("a", newline="") as handle:
                writer = csv.DictWriter(handle, list(line))
                if fresh:
                    writer.writeheader()
                writer.writerow(line)
        torch.save({"state": state.state_dict(), "elapsed": elapsed}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
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
        print(f"released {arguments.release}, SHA-256 {save_regularizer(regularizer, state.mean, arguments.release, text, notes)}")


if __name__ == "__main__":
    main()
