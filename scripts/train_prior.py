"""Train a latent prior from a TOML recipe; interrupt and run the same command again to resume.

    python scripts/train_prior.py models/pan/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/pan]
    python scripts/train_prior.py --continue models/pan --minutes 60 --data DATA_FOLDER --work RUN_FOLDER --release models/pan

Without --release the run folder only gets a checkpoint, log.csv and samples.png; with it, the averaged weights are written as a released
model. --continue takes a released model further: its recipe, from its weights, for the given time. --data takes a folder, or the parts that
scripts/pack_training_set.py wrote.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from tqdm import tqdm

from imaging.priors.families import prior_of
from imaging.priors.training import Trainer
from imaging.priors.zoo import PRIORS, save_prior, start_from
from imaging.releases import Table
from imaging.training import CropSampler, TrainingSettings, find_images, statistics_batch, validation_images


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folder that the recipe's patterns start from, or packs")
    parser.add_argument("--work", type=Path, required=True, help="checkpoint, log and samples; an existing checkpoint is resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start", type=Path, help="model folder whose weights the training starts from, of a smaller model too")
    parser.add_argument("--continue", type=Path, dest="further", metavar="MODEL", help="train a released model further")
    parser.add_argument("--minutes", type=float, help="instead of the recipe's minutes or steps")
    parser.add_argument("--compile", action="store_true", help="compile the networks; the first steps then take a minute")
    parser.add_argument("--release", type=Path, help="write the released model into this folder when done")
    arguments = parser.parse_args()
    if (arguments.recipe is None) == (arguments.further is None):
        parser.error("give either a recipe or --continue MODEL")
    if arguments.further:
        arguments.recipe, arguments.start = arguments.further / "recipe.toml", arguments.further
    return arguments


def main() -> None:
    """Train, release."""
    arguments = parsed()
    recipe_text = arguments.recipe.read_text(encoding="utf-8")
    recipe = Table.parse(recipe_text, str(arguments.recipe))
    settings = recipe.under("training").make(TrainingSettings)
    if arguments.minutes:
        settings = dataclasses.replace(settings, minutes=arguments.minutes, steps=0)
    torch.manual_seed(settings.seed)
    model, data = prior_of(recipe), recipe.values["data"]
    sampler = CropSampler(find_images(arguments.data, data["train"]), settings, model.channels)
    validation = validation_images(find_images(arguments.data, data["validation"])[: data["validation_count"]], model.channels)
    model.set_statistics(statistics_batch(sampler))
    notes: dict[str, float | str] = {"device": arguments.device}
    if arguments.start:
        notes["start_sha256"] = PRIORS.info(arguments.start).digest
        start_from(model, arguments.start)
        print(f"starts with the weights of {arguments.start}")
    trainer = Trainer(model, sampler, validation, settings, arguments.work, torch.device(arguments.device), arguments.compile)
    if trainer.resume():
        print(f"resumed at step {trainer.step}, {trainer.elapsed / 60:.1f} min")

    def report(figures: dict[str, float]) -> None:
        tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in figures.items()))

    for _ in tqdm(trainer.run(report), unit="step", mininterval=30):
        pass
    if arguments.release:
        model.load_state_dict(trainer.average)
        notes |= {"steps": trainer.step, "training_minutes": round(trainer.elapsed / 60)}
        print(f"released {arguments.release}, SHA-256 {save_prior(model, arguments.release, recipe_text, notes)}")


if __name__ == "__main__":
    main()
