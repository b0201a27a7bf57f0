"""Join two ridge regularisers that differ in their scales: one good at faint noise, one at strong noise.

    python -m scripts.release.join_scales STRONG_FOLDER FAINT_FOLDER --recipe RECIPE.toml --release FOLDER [--levels 5 15 25]

The logarithm of a filter's scale is a parabola in that of the noise. The joint one goes through the faint model's value at the first level
(grey levels of 255) and the strong model's at the other two; all else is the strong model's.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from imaging.bilevel import RidgeRegularizer, load_regularizer, save_regularizer
from scripts.command import command
from scripts.train.common import Notes


def log_scales(regularizer: RidgeRegularizer, theta: Tensor, places: list[float]) -> Tensor:
    """Logarithms of the scales at logarithms of the noise, ``(levels, filters)``, up to a constant."""
    offset, slope, bend = theta[regularizer.groups()["scales"]].double().view(3, -1)
    return torch.stack([offset + (slope - 1) * place + bend * place**2 for place in places])


def main() -> None:
    """Join, release."""
    parser = command(__doc__)
    parser.add_argument("strong", type=Path)
    parser.add_argument("faint", type=Path)
    parser.add_argument("--recipe", type=Path, required=True, help="written beside the parameters")
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--levels", type=float, nargs=3, default=[5.0, 15.0, 25.0])
    arguments = parser.parse_args()
    strong, faint = load_regularizer(str(arguments.strong)), load_regularizer(str(arguments.faint))
    regularizer = strong.regularizer
    assert isinstance(regularizer, RidgeRegularizer)
    places = []
    for level in arguments.levels:
        regularizer.noise = level / 255
        places.append(regularizer.relative_noise)
    wanted = log_scales(regularizer, strong.theta, places)
    wanted[0] = log_scales(regularizer, faint.theta, places)[0]
    powers = torch.tensor([[1, p, p**2] for p in places], dtype=torch.float64)
    offset, slope, bend = torch.linalg.solve(powers, wanted)
    theta = strong.theta.clone()
    theta[regularizer.groups()["scales"]] = torch.cat([offset, slope + 1, bend]).to(theta)
    notes: Notes = {"start_sha256": strong.digest, "faint_sha256": faint.digest}
    print(save_regularizer(regularizer, theta, arguments.release, arguments.recipe.read_text(encoding="utf-8"), notes))


if __name__ == "__main__":
    main()
