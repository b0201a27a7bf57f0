"""What the trainings share: their command line, how a recipe begins one, and how it runs."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from imaging.parallel import place
from imaging.releases import Table
from imaging.superres.recipes import Recipe
from imaging.training import InterruptibleTraining, TrainingSettings
from scripts.command import command, read_table
from scripts.split import applied

Notes = dict[str, float | str]
"""Further keys of a recipe's ``[release]`` table."""


def training(description: str | None, *, released: bool = False) -> argparse.ArgumentParser:
    """Options of all trainings; those that release a model can take a released one further."""
    parser = command(description)
    parser.add_argument("recipe", type=Path, nargs="?" if released else None)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folder that the recipe's patterns start from, or packs")
    parser.add_argument("--work", type=Path, required=True, help="checkpoint, log and results; an existing checkpoint is resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    if released:
        parser.add_argument("--continue", type=Path, dest="further", metavar="MODEL", help="train a released model further")
        parser.add_argument("--minutes", type=float, help="instead of the recipe's minutes or steps")
        parser.add_argument("--release", type=Path, help="write the released model into this folder when done")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Arguments; the recipe is that of the model to be continued where one is given."""
    arguments = parser.parse_args()
    if (arguments.recipe is None) == (arguments.further is None):
        parser.error("give either a recipe or --continue MODEL")
    if arguments.further:
        arguments.recipe = arguments.further / "recipe.toml"
    return arguments


def begin(arguments: argparse.Namespace) -> tuple[Table, TrainingSettings]:
    """Recipe and settings of a training of a prior or a network; seeds torch."""
    recipe = read_table(arguments.recipe)
    settings = recipe.under("training").make(TrainingSettings)
    if arguments.minutes:
        settings = dataclasses.replace(settings, minutes=arguments.minutes, steps=0)
    torch.manual_seed(settings.seed)
    return recipe, settings


def carried_on(trainer: InterruptibleTraining, every: float = 60.0, *, train: bool = True) -> Notes:
    """Resume a training and run it to its end, or leave it where it is; what a release says of it."""
    if trainer.resume():
        print(f"resumed at step {trainer.step}, {trainer.elapsed / 60:.1f} min", flush=True)
    steps = trainer.run(lambda figures: tqdm.write(told(figures)), every) if train else ()
    for _ in tqdm(steps, unit="step", mininterval=30, disable=not train or place()[0] > 0):
        pass
    return {"steps": trainer.step, "training_minutes": round(trainer.elapsed / 60)}


def held(recipe: Recipe, sources: Sequence[Path]) -> Recipe:
    """A recipe of super-resolution whose images are those that the split gives to training and tuning."""
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, values=applied(recipe.data.values, sources)))


def told(figures: dict[str, float]) -> str:
    """A line of the log."""
    return "  ".join(f"{k} {v:.5g}" for k, v in figures.items())
