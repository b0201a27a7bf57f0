"""Export a trained super-resolution model to ONNX, in 8-bit integers and in float32, and release it.

    python -m scripts.release.superres models/quantnas-x4/recipe.toml --work RUN_FOLDER --release models/quantnas-x4 [--note compute="..."]

Takes genotype.json, float.safetensors and quantised-8.safetensors of a run folder, or where that was not made
quantised.safetensors, with the genotype's own bits: layers of fewer than 8 are then simulated in kernels of 8. Prints how far the
integer model is from the network it was trained as, in grey levels of 255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from imaging.names import SUPERRES_FAMILY
from imaging.releases import digest_of, write_release
from imaging.superres import Genotype, SuperResolver, export, load_network
from imaging.superres.recipes import Recipe
from scripts.command import command, read_table
from scripts.split import noted
from scripts.train.common import Notes


def main() -> None:
    """Export, compare."""
    parser = command(__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT", help="for the recipe's [release] table")
    arguments = parser.parse_args()
    text = arguments.recipe.read_text(encoding="utf-8")
    recipe, folder = Recipe.parse(text), arguments.release
    if read_table(arguments.recipe).values.get("family") != SUPERRES_FAMILY:
        raise SystemExit(f"{arguments.recipe} is of no super-resolution model: its family is not {SUPERRES_FAMILY}")
    genotype = Genotype.load(arguments.work / "genotype.json")
    notes: Notes = noted(recipe.data.values) | dict(n.split("=", 1) for n in arguments.note)
    folder.mkdir(parents=True, exist_ok=True)
    uniform = arguments.work / "quantised-8.safetensors"
    trained = uniform if uniform.exists() else arguments.work / "quantised.safetensors"
    (folder / "genotype.json").write_text((genotype.at(8) if trained == uniform else genotype).to_json() + "\n", encoding="utf-8")
    save_file(load_file(trained), folder / "quantised.safetensors")
    notes["quantised_sha256"] = digest_of(folder / "quantised.safetensors")
    write_release(folder, load_file(arguments.work / "float.safetensors"), text, notes)
    for precision, quantised in (("int8", True), ("float32", False)):
        network = load_network(str(folder), quantised=quantised)
        export(network, recipe.name, folder / f"{precision}.onnx", quantised=quantised)
        x = torch.rand(1, recipe.space.bands, 96, 80, generator=torch.Generator().manual_seed(0))
        x = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
        with torch.no_grad():
            difference = 255 * np.abs(network(x).numpy() - SuperResolver(str(folder), precision).window(x.numpy()))
        size = (folder / f"{precision}.onnx").stat().st_size / 1e3
        print(
            f"{precision}: {size:.0f} kB, differs from torch by {difference.max():.3f} grey levels at most, {difference.mean():.5f} in mean"
        )


if __name__ == "__main__":
    main()
