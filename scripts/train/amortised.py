"""Train an inference network from a TOML recipe; interrupt and run the same command again to resume.

    python -m scripts.train.amortised models/pan-amortised/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/pan-amortised]
    python -m scripts.train.amortised --continue models/pan-amortised --minutes 60 --data DATA_FOLDER --work RUN_FOLDER --release MODEL

Without --release the run folder only gets a checkpoint and log.csv, the validation curve; with it, the averaged weights are written as a
released model, at the end or, with --now, at once from the checkpoint of a run that goes on. --continue takes a released model further: its
recipe, from its weights, for the given time. --data takes a folder, or the parts that scripts.train.pack wrote.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch

from imaging.amortised.limits import find_limits
from imaging.amortised.sensors import SensorRanges
from imaging.amortised.training import Batches, Trainer, samplers_of, validation_batches
from imaging.amortised.zoo import find_network, load_network, make_network, save_network
from imaging.parallel import place, run_together
from imaging.training import find_images
from scripts.split import applied, noted
from scripts.train.common import Notes, begin, carried_on, parsed, training


def train(arguments: argparse.Namespace) -> None:
    """Train; the first process releases."""
    torch.set_num_threads(arguments.threads)
    recipe_text = arguments.recipe.read_text(encoding="utf-8")
    recipe, settings = begin(arguments)
    ranges, data = recipe.under("sensors").make(SensorRanges), applied(recipe.values["data"], arguments.data)
    network = make_network(recipe)
    notes: Notes = {"device": arguments.device} | noted(recipe.values["data"])
    if arguments.further:
        began = arguments.work / "start.txt"  # the released model may be another one when the run is resumed
        if not began.exists():
            arguments.work.mkdir(parents=True, exist_ok=True)
            began.write_text(find_network(str(arguments.further)).digest)
        notes["start_sha256"] = began.read_text()
        network.load_state_dict(load_network(str(arguments.further)).state_dict())
        settings = dataclasses.replace(settings, seed=settings.seed + recipe.under("release").get("steps", int))  # other crops than before
    elif arguments.start:
        notes["start_sha256"] = find_network(arguments.start).digest
        network.begin_from(load_network(arguments.start))
    images = find_images(arguments.data, data["train"])
    validation = validation_batches(find_images(arguments.data, data["validation"]), network.settings.channels, ranges)
    device = torch.device(arguments.device)
    samplers = samplers_of(images, settings, network.settings.channels, ranges)
    source = Batches(samplers, ranges, settings.seed, device.type == "cpu")
    trainer = Trainer(network, source, validation, settings, arguments.work, device, arguments.makers)
    notes |= carried_on(trainer, arguments.every, train=not arguments.now)
    if arguments.release and place()[0] == 0:
        network.load_state_dict(trainer.average)
        network.eval()
        whole = dataclasses.replace(ranges, holes=0.0, saturated=0.0)
        crops = Batches(samplers, whole, settings.seed + 1, False)
        measured = {"limits": find_limits(network, (crops[k] for k in range(150)))}
        print(f"released {arguments.release}, SHA-256 {save_network(network, arguments.release, recipe_text, notes, measured)}")


def options(description: str | None) -> argparse.Namespace:
    """Arguments of a training of an inference network."""
    parser = training(description, released=True)
    parser.add_argument("--start", metavar="MODEL", help="begin with the weights of a network for one band, or as many")
    parser.add_argument("--threads", type=int, default=1, help="of the training on a CPU")
    parser.add_argument("--processes", type=int, default=1, help="that train together on a CPU, each with the recipe's batch")
    parser.add_argument("--makers", type=int, default=1, help="processes that make batches beside it; 0 makes them in between")
    parser.add_argument("--every", type=float, default=120, help="seconds between validations")
    parser.add_argument("--now", action="store_true", help="train nothing, release what the checkpoint has")
    return parsed(parser)


def main() -> None:
    """Train, release."""
    arguments = options(__doc__)
    run_together(1 if arguments.now else arguments.processes, train, arguments)


if __name__ == "__main__":
    main()
