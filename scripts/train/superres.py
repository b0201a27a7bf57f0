"""Train a super-resolution network in float, then quantisation-aware; interrupt and run the same command again to resume.

    python -m scripts.train.superres models/quantnas-x4/recipe.toml --data DATA_FOLDER --work RUN_FOLDER
                               [--genotype genotype.json | --network fsrcnn] [--bits 8 4]

Writes float.safetensors, quantised-8.safetensors (and so on, one for each of --bits; none: the genotype's own bits) and figures.json into
the run folder. scripts.release.superres then releases the model.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from imaging.superres.blueprint import Blueprint, blueprint
from imaging.superres.genotype import Genotype
from imaging.superres.handmade import HANDMADE, at_bits
from imaging.superres.networks import Network
from imaging.superres.recipes import Recipe
from imaging.superres.training import Training, quality
from scripts.command import save_checkpoint
from scripts.train.common import held, told, training


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = training(__doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--genotype", type=Path, help="default: the one beside the recipe")
    chosen.add_argument("--network", choices=sorted(HANDMADE), help="a hand-made network instead")
    parser.add_argument("--normalisation", help="instead of the recipe's")
    parser.add_argument("--bits", type=int, nargs="*", default=[], help="uniform bits of quantised versions")
    parser.add_argument("--steps", type=int, nargs=2, help="in float and quantised, instead of the recipe's")
    parser.add_argument("--every", type=int, default=1000, help="steps between validations")
    return parser.parse_args()


def train(
    training_: Training, recipe: Recipe, arguments: argparse.Namespace, data: dict[str, Any], name: str
) -> tuple[Network, dict[str, float]]:
    """Run or resume one training; the averaged network and its figures."""
    checkpoint = arguments.work / f"{name}.pt"
    elapsed, figures = 0.0, {}
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=data["tiles"].device, weights_only=True)
        if saved["plan"] != repr(training_.network.plan):
            raise SystemExit(f"{checkpoint} is of another network; choose another --work")
        training_.load_state_dict(saved["state"])
        elapsed, figures = saved["elapsed"], saved["figures"]
        print(f"{name}: resumed at step {training_.step}")
    pairs = recipe.pairs(data["tiles"], 100 + training_.step)
    began = time.monotonic() - elapsed
    for figures in training_.run(pairs, arguments.every):
        figures |= {"psnr": quality(training_.average, *data["validation"]), "seconds": round(time.monotonic() - began, 1)}
        print(f"{name}  {told(figures)}", flush=True)
        kept = {"state": training_.state_dict(), "elapsed": figures["seconds"], "figures": figures, "plan": repr(training_.network.plan)}
        save_checkpoint(kept, checkpoint)
    return training_.average, figures


def write(network: Network, path: Path) -> None:
    """Save weights."""
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, path)


def planned(arguments: argparse.Namespace, recipe: Recipe) -> Blueprint:
    """What is trained."""
    if arguments.network:
        return HANDMADE[arguments.network](recipe.space.bands, recipe.space.scale)
    genotype = Genotype.load(arguments.genotype or arguments.recipe.parent / "genotype.json")
    arguments.work.mkdir(parents=True, exist_ok=True)
    (arguments.work / "genotype.json").write_text(genotype.to_json() + "\n", encoding="utf-8")
    return blueprint(genotype, arguments.normalisation or recipe.normalisation)


def main() -> None:
    """Train, quantise, write."""
    arguments = parsed()
    recipe = held(Recipe.parse(arguments.recipe.read_text(encoding="utf-8")), arguments.data)
    device, plan = torch.device(arguments.device), planned(arguments, recipe)
    first, second = recipe.first, recipe.second
    if arguments.steps:
        first, second = (dataclasses.replace(s, steps=n) for s, n in zip((first, second), arguments.steps, strict=True))
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.search.seed)
    data: dict[str, Any] = {"tiles": recipe.tiles(arguments.data, device), "validation": recipe.validation(arguments.data, device)}
    network = Network(plan).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found, figures = train(Training(network, first), recipe, arguments, data, "float")
    found.fold()
    results = {"macs": plan.macs(), "float": figures}
    write(found, arguments.work / "float.safetensors")
    for bits in arguments.bits or [None]:
        name, coarser = (f"quantised-{bits}", at_bits(plan, bits)) if bits else ("quantised", plan)
        network = Network(coarser).to(device).fold()
        network.load_state_dict(found.state_dict())
        calibration = recipe.pairs(data["tiles"], 7)
        network.quantise([calibration.draw()[0] for _ in range(8)])
        average, figures = train(Training(network, second), recipe, arguments, data, name)
        write(average, arguments.work / f"{name}.safetensors")
        results[name] = figures | {"bitops": coarser.bitops()}
    (arguments.work / "figures.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
