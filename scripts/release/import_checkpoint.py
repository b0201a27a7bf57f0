"""Import a checkpoint of compressai, VBLE or VBLE-xz in its published layout as a model folder of safetensors.

    python -m scripts.release.import_checkpoint mbt_0.0483_bsd.pth.tar --name mbt-bsd --alpha 0.0483 --output FOLDER
    imaging-restore --input scene.tif --sensor pleiades --prior FOLDER

Known layouts are compressai's bmshj2018-factorized, mbt2018-mean, mbt2018 and cheng2020-attn, with or without a second decoder of standard
deviations (variance_decoder). --panchromatic uses a network of three channels for one, replicated and averaged. A file is read as tensors
alone: nothing in it is executed. The weights keep their licence; the recipe written beside them cannot train them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from imaging.errors import InputError
from imaging.priors.importing import convert, read_checkpoint
from imaging.priors.zoo import save_prior
from scripts.command import command


def literal(value: object) -> str:
    """A setting in TOML."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def main() -> int:
    """Parse, convert, write."""
    parser = command(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="model folder to write; must not exist")
    parser.add_argument("--name", help="by default that of the folder")
    parser.add_argument("--alpha", type=float, help="weight of the squared error in grey levels of 255 that it was trained with")
    parser.add_argument("--panchromatic", action="store_true", help="replicate one channel to the network's three")
    arguments = parser.parse_args()
    name = arguments.name or arguments.output.name
    try:
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(f"the name is {name!r}; accepted are letters, digits, '.', '_' and '-'")
        if arguments.output.exists():
            raise InputError(f"{arguments.output} exists; choose another --output")
        found = convert(
            read_checkpoint(arguments.checkpoint), str(arguments.checkpoint), alpha=arguments.alpha, panchromatic=arguments.panchromatic
        )
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    settings = "\n".join(f"{k} = {literal(v)}" for k, v in found.settings.items())
    recipe = f'name = "{name}"\ntitle = "imported"\nfamily = "{found.family}"\n\n[model]\n{settings}\n'
    print(f"{arguments.output}: {found.family}, SHA-256 {save_prior(found.model, arguments.output, recipe, small=False)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
