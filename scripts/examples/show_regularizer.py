"""Draw what learned regularisers have learned: filters, and the potentials that their responses are charged.

    python -m scripts.examples.show_regularizer PICTURE.png [--regularizers foe crr wcrr] [--noise 15]

Each filter is drawn to its own scale, the strongest first: that of the largest potential at the end of the curve. Potentials are drawn for
responses of filters of length 1, at the noise given in grey levels of 255.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from imaging.bilevel import FieldOfExperts, Regularizer, RidgeRegularizer, load_regularizer
from scripts.command import command
from scripts.scenes import Array

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 12


def learned_parts(regularizer: Regularizer, theta: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
    """Filters of length 1, ``(K, k, k)``, and the potential of each at the responses, ``(K, n)``."""
    if isinstance(regularizer, FieldOfExperts):
        filters = regularizer.kernels(theta)[:, 0]
        weight, nu = regularizer.scales(theta)
        return filters, weight[:, None] * (torch.sqrt(responses**2 + nu[:, None] ** 2) - nu[:, None])
    if isinstance(regularizer, RidgeRegularizer):
        parts = regularizer.parts(theta)
        filters, scale = parts.analysis.combined()[:, 0], parts.scale.flatten()
        length = filters.square().sum((1, 2)).sqrt()
        values = parts.profile.value((scale * length)[:, None] * responses) / scale[:, None] ** 2
        return filters / length[:, None, None], values
    raise SystemExit(f"{type(regularizer).__name__} has no learned filters; known are fields of experts and ridge regularisers")


def tiled(filters: Tensor) -> Array:
    """All filters beside and below each other, each from -1 to 1, gaps not a number."""
    side, rows = filters.shape[1] + 1, -(-len(filters) // COLUMNS)
    sheet = np.full((rows * side + 1, COLUMNS * side + 1), np.nan)
    for k, f in enumerate(filters):
        row, column = k // COLUMNS * side + 1, k % COLUMNS * side + 1
        sheet[row : row + side - 1, column : column + side - 1] = (f / f.abs().max()).numpy()
    return sheet


def main() -> None:
    """Parse and draw."""
    parser = command(__doc__)
    parser.add_argument("picture", type=Path, metavar="PICTURE.png")
    parser.add_argument("--regularizers", nargs="+", default=["foe", "crr", "wcrr"])
    parser.add_argument("--noise", type=float, default=15.0)
    arguments = parser.parse_args()
    count = len(arguments.regularizers)
    figure, axes = plt.subplots(count, 2, figsize=(11, 2.9 * count), width_ratios=(2.6, 1), layout="constrained", squeeze=False)
    responses = torch.linspace(-0.3, 0.3, 601)
    for (left, right), name in zip(axes, arguments.regularizers, strict=True):
        learned = load_regularizer(name)
        learned.regularizer.noise = arguments.noise / 255
        with torch.no_grad():
            filters, values = learned_parts(learned.regularizer, learned.theta, responses)
        order = values[:, -1].argsort(descending=True)
        left.imshow(tiled(filters[order]), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        left.set_title(f"{name}: {len(filters)} filters of {filters.shape[1]} x {filters.shape[2]}", fontsize=10)
        left.set_axis_off()
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(order)))
        for colour, k in zip(colours, order, strict=True):
            right.plot(responses, values[k], color=colour, linewidth=0.8)
        right.set(xlabel="response", ylabel="potential", xlim=(-0.3, 0.3))
        right.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.picture, dpi=90)


if __name__ == "__main__":
    main()
