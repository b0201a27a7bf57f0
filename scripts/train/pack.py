"""Pack the training and validation images of recipes for a machine that has neither the data folder nor an image library.

    python -m scripts.train.pack models/pan/recipe.toml models/rgbn/recipe.toml --data DATA_FOLDER --output pack.npz --limit 60

Writes pack.npz, pack-1.npz and so on, each of at most the given number of MiB; scripts.train.prior takes them all: --data pack*.npz.
"""

from __future__ import annotations

from pathlib import Path

from imaging.training import write_pack
from scripts.command import command, read_table


def main() -> None:
    """Parse and pack."""
    parser = command(__doc__)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder that the recipes' patterns start from")
    parser.add_argument("--output", type=Path, required=True, help="first part, .npz")
    parser.add_argument("--limit", type=float, default=60, help="MiB of a part")
    arguments = parser.parse_args()
    patterns = []
    for path in arguments.recipes:
        data = read_table(path).under("data").values
        patterns += [*data["train"], *data["validation"]]
    for part in write_pack(arguments.data, patterns, arguments.output, int(arguments.limit * 2**20)):
        print(f"{part}: {part.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
