r"""
# 6. Learn a regulariser

Classical regularisers have few parameters: how much, how smooth, which filters. They can be learned from pairs of clean and noisy images so
that the minimisers come close to the clean ones. That is a problem of two levels: the lower one denoises, the upper one judges.
`imaging.bilevel` solves the lower one to a certified distance and takes derivatives through it. `maid` then descends only with steps that
certainly decrease the loss.

The images are photographs from scikit-image, eight crops of 48 x 48 pixels; enough to see the method at work, few for a regulariser of
general use.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage import data as pictures
from skimage.restoration import denoise_tv_chambolle

from imaging.bilevel import (
    BilevelProblem,
    FieldOfExperts,
    LowerLevel,
    MaidSettings,
    TotalVariation,
    check_hypergradient,
    denoise,
    hoag,
    load_regularizer,
    maid,
)

NOISE, SIDE = 0.1, 48
grey = {name: torch.from_numpy(getattr(pictures, name)()).double() / 255 for name in ("camera", "brick", "coins", "moon")}
corners = {
    "camera": [(20, 300), (300, 120), (220, 300)],
    "brick": [(10, 10), (200, 300)],
    "coins": [(20, 20), (180, 200)],
    "moon": [(300, 200)],
}
truth = torch.stack([grey[name][r : r + SIDE, c : c + SIDE] for name, places in corners.items() for r, c in places])[:, None]
generator = torch.Generator().manual_seed(0)
measured = truth + NOISE * torch.randn(truth.shape, generator=generator, dtype=truth.dtype)
test = grey["camera"][100:228, 130:258][None, None]
noisy_test = test + NOISE * torch.randn(test.shape, generator=generator, dtype=test.dtype)

# %%
# ## Total variation: two parameters
#
# The logarithm of its weight, and that of its smoothing. `check_hypergradient` compares the derivative of the loss with finite differences.

problem = BilevelProblem(LowerLevel(TotalVariation()), measured, truth)
start = torch.tensor([-5.0, -5.0], dtype=truth.dtype)
print(f"hypergradient against differences: relative error {check_hypergradient(problem, start):.1e}")

runs = {
    "MAID": maid(problem, start, MaidSettings(pairs=10), budget=6000),
    "HOAG": hoag(BilevelProblem(LowerLevel(TotalVariation()), measured, truth), start, budget=6000),
}
for name, run in runs.items():
    last = run.history[-1]
    weight, smoothing = run.theta.tolist()
    print(f"{name}: {run.status} after {len(run.history)} steps, cost {last.cost}, log weight {weight:.3f}, log smoothing {smoothing:.3f}")

# %%
# Cost counts gradients and Hessian products of single images. After each step the exact loss is known to lie between two numbers; MAID's go
# down at every step, because only such steps are accepted. HOAG's schedule of accuracies promises nothing of the kind.

figure, axis = plt.subplots(figsize=(7, 4))
for name, run in runs.items():
    table = run.table()
    axis.fill_between(table["cost"], table["low"], table["high"], alpha=0.3, step=None)
    axis.plot(table["cost"], (np.array(table["low"]) + np.array(table["high"])) / 2, "o-", markersize=3, label=name)
axis.set(xlabel="gradients and Hessian products of single images", xscale="log")
axis.set(ylabel="loss, and what it certainly lies between", yscale="log")
axis.legend()
figure.tight_layout()

highs = runs["MAID"].table()["high"]
upwards = sum(after > before for before, after in pairwise(highs))
print(f"MAID: upper end of the loss {highs[0]:.3f} at first, {highs[-1]:.3f} at last; steps up: {upwards}")

# %%
# ## A field of experts: many filters
#
# Twelve filters of 5 x 5 pixels, each with a weight and a smoothing of its own: 325 parameters, from random filters.

experts = FieldOfExperts(12, 5)
first = experts.start(0, -3.0, -3.5).double()
learning = BilevelProblem(LowerLevel(experts), measured, truth)
learned = maid(learning, first, MaidSettings(pairs=10), budget=5000)
highs = learned.table()["high"]
print(f"{learned.status}, {len(highs)} steps, loss {highs[0]:.2f} after the first step, {highs[-1]:.2f} after the last")

filters = experts.kernels(learned.theta)[:, 0]
weights, _ = experts.scales(learned.theta)
figure, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for axis, k in zip(axes.flat, weights.argsort(descending=True).tolist(), strict=True):
    axis.imshow(filters[k].numpy(), cmap="RdBu", vmin=-filters[k].abs().max(), vmax=filters[k].abs().max())
    axis.set_title(f"weight {weights[k]:.3f}", fontsize=8)
    axis.set_axis_off()
figure.tight_layout()

# %%
# ## On an image that was not learned from
#
# Part of the camera picture, other parts of which were learned from. `foe` and `wcrr` are shipped, learned from hundreds of aerial images;
# scikit-image's total variation gets the best of eight weights, chosen with the truth.


def psnr(x: torch.Tensor) -> float:
    """Against the test image, dB."""
    return float(-10 * (x - test).square().mean().log10())


def denoised(regularizer: object, theta: torch.Tensor) -> torch.Tensor:
    """The test image denoised."""
    return denoise(LowerLevel(regularizer), noisy_test.to(theta), theta, NOISE).double()


learned_tv, learned_experts = problem.lower.regularizer, learning.lower.regularizer
found = {"noisy": noisy_test}
chambolle = [torch.from_numpy(denoise_tv_chambolle(noisy_test[0, 0].numpy(), weight=w))[None, None] for w in np.linspace(0.04, 0.18, 8)]
found["scikit-image TV"] = max(chambolle, key=psnr)
lower = {"TV, learned here": (learned_tv, runs["MAID"].theta), "experts, learned here": (learned_experts, learned.theta)}
for name, (regularizer, theta) in lower.items():
    found[name] = LowerLevel(regularizer).solve(noisy_test, theta, 1e-3 * test.numel() ** 0.5).x
for name in ("foe", "wcrr"):
    shipped = load_regularizer(name)
    found[name] = denoised(shipped.regularizer, shipped.theta)

figure, axes = plt.subplots(1, len(found), figsize=(16, 3))
for axis, (name, x) in zip(axes, found.items(), strict=True):
    print(f"{name:22s} {psnr(x):.2f} dB")
    axis.imshow(x[0, 0].clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(name, fontsize=9)
    axis.set_axis_off()
figure.tight_layout()

# %%
# From here: `save_regularizer` writes a model folder that `--method tv --prior FOLDER` takes, and `scripts/train/regularizer.py` learns
# from random patches of a folder of images ([Learned classical regularisers](../../bilevel.md)).
