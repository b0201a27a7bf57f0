"""Train a latent prior from a TOML recipe; interrupt and run the same command again to resume.

    python scripts/train_prior.py models/pan-small/recipe.toml --data DATA_FOLDER --work RUN_FOLDER

Without --release the run folder only gets a checkpoint and log.csv; with it, the averaged weights are written as a released model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tomllib
import torch
from tqdm import tqdm

from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.data import CropSampler, read_image, statistics_batch
from imaging.priors.recipe import TrainingSettings
from imaging.priors.training import Trainer
from imaging.priors.zoo import prior_info, save_prior, start_from


def find(folder: Path, patterns: list[str]) -> list[Path]:
    """Files below the data folder, in a stable order; a pattern without a match is an error."""
    found = []
    for pattern in patterns:
        matches = sorted(folder.glob(pattern))
        if not matches:
            raise SystemExit(f"no file matches {pattern} below {folder}")
        found += matches
    return found


def validation_images(paths: list[Path]) -> torch.Tensor:
    """Panchromatic validation tiles: the mean of their bands."""
    tiles = [read_image(p).astype(np.float32).mean(0) / 255 for p in paths]
    return torch.from_numpy(np.stack([t for t in tiles if t.shape == (256, 256)]))[:, None]


def main() -> None:
    """Parse, train, release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the recipe's patterns start from")
    parser.add_argument("--work", type=Path, required=True, help="checkpoint and log; an existing checkpoint is resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start", type=Path, help="model folder whose weights the training starts from; layers it lacks start as made")
    parser.add_argument("--release", type=Path, help="write the released model into this folder when done")
    arguments = parser.parse_args()
    recipe_text = arguments.recipe.read_text(encoding="utf-8")
    recipe = tomllib.loads(recipe_text)
    settings = TrainingSettings.from_table(recipe["training"])
    torch.manual_seed(settings.seed)
    model = LappedAutoencoder(**recipe["model"])
    sampler = CropSampler(find(arguments.data, recipe["data"]["train"]), settings, recipe["model"]["channels"])
    validation = validation_images(find(arguments.data, recipe["data"]["validation"])[: recipe["data"]["validation_count"]])
    model.set_statistics(statistics_batch(sampler))
    notes: dict[str, float | str] = {"device": arguments.device}
    if arguments.start:
        notes["start_sha256"] = prior_info(arguments.start).digest
        print("layers that start afresh: " + (", ".join(start_from(model, arguments.start)) or "none"))
    trainer = Trainer(model, sampler, validation, settings, arguments.work, torch.device(arguments.device))
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
