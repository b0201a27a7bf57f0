"""Search a super-resolution network after a TOML recipe; interrupt and run the same command again to resume.

    python -m scripts.train.search models/quantnas-x4/recipe.toml --data DATA_FOLDER --work RUN_FOLDER [--release models/quantnas-x4]

Writes genotype.json, and history.json with the probabilities after each epoch, into the run folder; --release also copies the genotype to
the model folder. --quantisation direct, --normalisation and --entropy compare ways to search; --latency takes a table that
scripts.train.latency made instead of bit operations. --at-most derives within a budget; run again on a finished search, it
derives another network at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import time
from pathlib import Path

import torch

from imaging.superres.blueprint import blueprint
from imaging.superres.cost import BitOps, LatencyTable, reported
from imaging.superres.genotype import Genotype
from imaging.superres.operations import NORMALISATIONS
from imaging.superres.recipes import Recipe
from imaging.superres.search import Search, derive
from imaging.superres.supernet import QUANTISATIONS, SupernetSettings
from scripts.command import save_checkpoint
from scripts.train.common import held, told, training


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = training(__doc__)
    parser.add_argument("--quantisation", choices=QUANTISATIONS, default="noise")
    parser.add_argument("--activations", choices=["lsq", "hwgq"], default="lsq", help="of direct quantisation")
    parser.add_argument("--normalisation", choices=NORMALISATIONS, default="adq")
    parser.add_argument("--penalty", type=float, help="instead of the recipe's")
    parser.add_argument("--entropy", type=float, help="instead of the recipe's")
    parser.add_argument("--bits", type=int, nargs="+", help="instead of the recipe's")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--latency", type=Path, help="table of measured latencies to penalise instead of bit operations")
    parser.add_argument(
        "--at-most", type=float, default=math.inf, metavar="COST",
        help="most that the network may cost for a coarse pixel, in bit operations or the table's unit: the most probable one within it",
    )  # fmt: skip
    parser.add_argument(
        "--random-like", type=Path, metavar="GENOTYPE", help="no search: draw one whose bit operations differ by 3 % at most"
    )
    parser.add_argument("--release", type=Path, help="model folder that gets the genotype")
    return parser.parse_args()


def alike(path: Path, seed: int) -> Genotype:
    """A random genotype of about the same bit operations."""
    genotype = Genotype.load(path)
    wanted = reported(genotype, BitOps())
    candidates = (Genotype.random(genotype.space, k) for k in itertools.count(1_000_000 * seed))
    return next(g for g in candidates if abs(reported(g, BitOps()) / wanted - 1) < 0.03)


def main() -> None:
    """Search, write."""
    arguments = parsed()
    if arguments.random_like:
        arguments.work.mkdir(parents=True, exist_ok=True)
        (arguments.work / "genotype.json").write_text(alike(arguments.random_like, arguments.seed or 0).to_json() + "\n")
        return
    recipe = held(Recipe.parse(arguments.recipe.read_text(encoding="utf-8")), arguments.data)
    given = {k: getattr(arguments, k) for k in ("penalty", "entropy", "epochs", "seed") if getattr(arguments, k) is not None}
    settings = dataclasses.replace(recipe.search, **given)
    space = dataclasses.replace(recipe.space, bits=tuple(arguments.bits)) if arguments.bits else recipe.space
    device = torch.device(arguments.device)
    supernet = SupernetSettings(
        quantisation=arguments.quantisation, activations=arguments.activations, normalisation=arguments.normalisation
    )
    cost = LatencyTable.load(arguments.latency) if arguments.latency else BitOps()
    search = Search(space, settings, supernet, cost, device)
    described = repr((space, dataclasses.replace(settings, epochs=0), supernet, cost))
    arguments.work.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.work / "search.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if saved["settings"] != described:
            raise SystemExit(f"{checkpoint} is of a search with other settings; choose another --work")
        search.load_state_dict(saved["search"])
        print(f"resumed after epoch {search.epoch}")
    pairs = [
        recipe.pairs(recipe.tiles(arguments.data, device, part), settings.seed + 10 * search.epoch + k, recipe.search_crops)
        for k, part in enumerate(("even", "odd"))
    ]
    began = time.monotonic()
    for figures in search.run(*pairs):
        print(told(figures) + f"  seconds {time.monotonic() - began:.1f}", flush=True)
        began = time.monotonic()
        save_checkpoint({"search": search.state_dict(), "settings": described}, checkpoint)
    genotype = derive(search.supernet, cost, arguments.at_most)
    (arguments.work / "history.json").write_text(json.dumps(search.history))
    for folder in [arguments.work, arguments.release] if arguments.release else [arguments.work]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "genotype.json").write_text(genotype.to_json() + "\n")
    print(", ".join(f"{layer} {operation} {bits}b" for layer, (operation, bits) in genotype.choice.items()))
    print(f"{blueprint(genotype).macs()} multiplications and {reported(genotype, cost):g} {cost.unit} for a coarse pixel")


if __name__ == "__main__":
    main()
