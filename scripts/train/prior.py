"""Train a latent prior from a TOML recipe; interrupt and run the same command again to resume.

    python -m scripts.train.prior models/pan/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/pan]
    python -m scripts.train.prior --continue models/pan --minutes 60 --data DATA_FOLDER --work RUN_FOLDER --release models/pan

Without --release the run folder only gets a checkpoint, log.csv and samples.png; with it, the averaged weights are written as a released
model. --continue takes a released model further: its recipe, from its weights, for the given time. --data takes a folder, or the parts that
scripts.train.pack wrote.
"""

from __future__ import annotations

from pathlib import Path

import torch

from imaging.priors.families import prior_of
from imaging.priors.training import Trainer
from imaging.priors.zoo import save_prior, start_from
from imaging.releases import PRIOR_ZOO
from imaging.training import CropSampler, find_images, statistics_batch, validation_images
from scripts.split import applied, noted
from scripts.train.common import Notes, begin, carried_on, parsed, training


def main() -> None:
    """Train, release."""
    parser = training(__doc__, released=True)
    parser.add_argument("--start", type=Path, help="model folder whose weights the training starts from, of a smaller model too")
    parser.add_argument("--compile", action="store_true", help="compile the networks; the first steps then take a minute")
    arguments = parsed(parser)
    start = arguments.further or arguments.start
    recipe, settings = begin(arguments)
    model, data = prior_of(recipe), applied(recipe.values["data"], arguments.data)
    sampler = CropSampler(find_images(arguments.data, data["train"]), settings, model.channels)
    validation = validation_images(find_images(arguments.data, data["validation"])[: data["validation_count"]], model.channels)
    model.set_statistics(statistics_batch(sampler))
    notes: Notes = {"device": arguments.device} | noted(recipe.values["data"])
    if start:
        notes["start_sha256"] = PRIOR_ZOO.info(start).digest
        start_from(model, start)
        print(f"starts with the weights of {start}")
    trainer = Trainer(model, sampler, validation, settings, arguments.work, torch.device(arguments.device), arguments.compile)
    notes |= carried_on(trainer)
    if arguments.release:
        model.load_state_dict(trainer.average)
        digest = save_prior(model, arguments.release, arguments.recipe.read_text(encoding="utf-8"), notes)
        print(f"released {arguments.release}, SHA-256 {digest}")


if __name__ == "__main__":
    main()
