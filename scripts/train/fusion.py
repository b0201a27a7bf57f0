"""Train an inference network for bundles from a TOML recipe; interrupt and run the same command again to resume.

    python -m scripts.train.fusion models/rgbn-fusion/recipe.toml --start rgbn-amortised --data DATA --work RUN [--release MODEL]
    python -m scripts.train.fusion --continue models/rgbn-fusion --minutes 60 --data DATA --work RUN --release MODEL

Without --release the run folder only gets a checkpoint and log.csv, the validation curve; with it, the averaged weights are written as a
released model, at the end or, with --now, at once from the checkpoint of a run that goes on.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch

from imaging.amortised import find_fusion, find_network, load_network, save_network
from imaging.amortised.training import Trainer
from imaging.amortised.zoo import make_network
from imaging.fusion.simulation import BundleBatches, BundleRanges, validation_bundles
from imaging.parallel import place, run_together
from imaging.training import CropSampler, find_images
from scripts.split import applied, noted
from scripts.train.amortised import options
from scripts.train.common import Notes, begin, carried_on


def train(arguments: argparse.Namespace) -> None:
    """Train; the first process releases."""
    torch.set_num_threads(arguments.threads)
    recipe_text = arguments.recipe.read_text(encoding="utf-8")
    recipe, settings = begin(arguments)
    ranges, data = recipe.under("bundles").make(BundleRanges), applied(recipe.values["data"], arguments.data)
    network = make_network(recipe)
    notes: Notes = {"device": arguments.device} | noted(recipe.values["data"])
    if arguments.further or arguments.start:
        start = find_fusion(str(arguments.further)) if arguments.further else find_network(arguments.start)
        notes["start_sha256"] = start.digest
        network.begin_from(load_network(start))
    if arguments.further:
        settings = dataclasses.replace(settings, seed=settings.seed + recipe.under("release").get("steps", int))  # other crops than before
    channels = network.settings.channels
    source = BundleBatches(CropSampler(find_images(arguments.data, data["train"]), settings, channels), ranges, settings.seed)
    validation = validation_bundles(find_images(arguments.data, data["validation"]), channels, ranges)
    trainer = Trainer(network, source, validation, settings, arguments.work, torch.device(arguments.device), arguments.makers)
    notes |= carried_on(trainer, arguments.every, train=not arguments.now)
    if arguments.release and place()[0] == 0:
        network.load_state_dict(trainer.average)
        network.eval()
        print(f"released {arguments.release}, SHA-256 {save_network(network, arguments.release, recipe_text, notes)}")


def main() -> None:
    """Train, release."""
    arguments = options(__doc__)
    run_together(1 if arguments.now else arguments.processes, train, arguments)


if __name__ == "__main__":
    main()
