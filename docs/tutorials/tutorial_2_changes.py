r"""
# 2. Use the standard deviations: which changes are real?

Two acquisitions of one place differ everywhere: noise sees to that, and a restoration amplifies noise. With a standard deviation for each
pixel of each date a difference can be judged: is it larger than what the errors of both make likely?

Here both acquisitions are simulated from the sample's truth, with changes planted in the second. So false alarms and detections can be
counted.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import torch

import imaging
from imaging import metrics

ROOT = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "pleiades_like_pan.tif").exists())
MARGIN, SIDE = 8, 288

# %%
# ## Two acquisitions
#
# 72 objects of 2 x 2, 4 x 4 and 8 x 8 pixels appear, brighter or darker than what was there by 40 to 320 DN. Everything else stays as it
# is.

with rasterio.open(ROOT / "data" / "pleiades_like_pan_reference.tif") as source:
    before = source.read(1)[100 : 100 + SIDE + 2 * MARGIN, 100 : 100 + SIDE + 2 * MARGIN].astype(np.float32)

rng = np.random.default_rng(4)
after, label, contrasts, sides = before.copy(), np.zeros(before.shape, int), [], []
for k, place in enumerate(rng.permutation(81)[:72]):
    side, contrast = (2, 4, 8)[k % 3], (40, 80, 160, 320)[k // 3 % 4] * (1 if k % 2 else -1)
    row, column = (MARGIN + 12 + 31 * int(n) + int(rng.integers(0, 8)) for n in divmod(place, 9))
    after[row : row + side, column : column + side] += contrast
    label[row : row + side, column : column + side] = k + 1
    contrasts.append(abs(contrast))
    sides.append(side)
after = after.clip(0, 4095)

profile = imaging.load_profile("pleiades-raw")
physics = imaging.sensor_physics(profile.bands[:1], profile.full_scale, MARGIN)


def acquired(scene: np.ndarray, seed: int) -> np.ndarray:
    """What the sensor records of a scene, in whole DN."""
    measured = physics(torch.from_numpy(scene / profile.full_scale)[None, None], seed=seed)
    return np.rint(measured[0, 0].numpy() * profile.full_scale)


inside = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
first, second = acquired(before, 1), acquired(after, 2)
label = label[inside]
print(f"{len(contrasts)} objects, {100 * (label > 0).mean():.1f} % of the pixels")

# %%
# ## Restore both
#
# With different seeds: draws of the fit must not be shared by the dates either. Sixteen posterior samples of each are kept for later.

options = [imaging.RestoreOptions(samples=16, seed=seed) for seed in (1, 2)]
restored = [imaging.restore(scene, "pleiades-raw", options=o) for scene, o in zip((first, second), options, strict=True)]
difference = restored[1].restored[0] - restored[0].restored[0]
deviation = np.hypot(restored[0].std[0], restored[1].std[0])
for name, found, truth in zip(("first", "second"), restored, (before, after), strict=True):
    error = found.restored[0] - truth[inside]
    covered = metrics.coverage(found.restored[0], found.std[0], truth[inside], 0.95)
    print(f"{name} date: error {error.std():.1f} DN, 95 % intervals cover {100 * covered:.1f} % of the pixels")

# %%
# ## Pixel by pixel
#
# The difference over its standard deviation is the score. Above 1.96 it is a change at 5 %: of the pixels that did not change one in twenty
# may be flagged. A margin around the objects is left out of the count, since their blur reaches there.

score = np.abs(difference) / deviation
near = np.zeros(label.shape, bool)
for row, column in zip(*np.nonzero(label), strict=True):
    near[max(0, row - 8) : row + 9, max(0, column - 8) : column + 9] = True
unchanged = ~near
for level in (0.05, 0.01, 0.001):
    flagged = score[unchanged] > metrics.normal_score(1 - level)
    print(f"asked for {100 * level:.1f} % false alarms: {100 * flagged.mean():.2f} % of the unchanged pixels are flagged")

# %%
# Fewer than asked for: the prior errs in the same way at both dates, and what is common to both drops out of the difference. Without
# further knowledge the standard deviation of the difference is an upper bound, and what exceeds it is a change all the more surely.

errors = [(r.restored[0] - t[inside])[unchanged] for r, t in zip(restored, (before, after), strict=True)]
print(f"correlation of the errors of both dates: {np.corrcoef(*errors)[0, 1]:.2f}")

# %%
# Where most of a scene did not change, the scene itself tells by how much the bound is too wide: the median of the scores would be 0.674.
# That needs no truth.

width = np.median(score) / metrics.normal_score(0.5)
print(f"scores are {width:.2f} times as wide as those of independent errors")
for level in (0.05, 0.01, 0.001):
    flagged = score[unchanged] > width * metrics.normal_score(1 - level)
    print(f"asked for {100 * level:.1f} % false alarms: {100 * flagged.mean():.2f} % of the unchanged pixels are flagged")

figure, axes = plt.subplots(1, 4, figsize=(14, 3.9))
scale = {"cmap": "gray", "vmin": np.percentile(first, 1), "vmax": np.percentile(first, 99)}
axes[0].imshow(second, **scale)
axes[0].set_title("second date, measured")
axes[1].imshow(restored[1].restored[0], **scale)
axes[1].set_title("restored")
axes[2].imshow(difference, cmap="RdBu", vmin=-300, vmax=300)
axes[2].set_title("difference of the restored (DN)")
shown = axes[3].imshow(score, cmap="magma", vmax=6)
axes[3].contour(label > 0, [0.5], colors="cyan", linewidths=0.5)
axes[3].set_title("score; outlined: planted")
figure.colorbar(shown, ax=axes[3], fraction=0.046)
for axis in axes:
    axis.set_axis_off()
figure.tight_layout()

# %%
# ## Object by object
#
# A detection is about a place, not a pixel, and errors of neighbouring pixels hang together: the standard deviation of a mean over n pixels
# is not `std / sqrt(n)`. Samples know how errors hang together. The mean over a window is taken in each sample; its spread over the samples
# is its standard deviation. Windows are 4 x 4 pixels, on a grid.

block = 4
means = metrics.block_mean(difference, block)
spread = np.sqrt(sum(metrics.block_mean(r.samples[:, 0], block).var(0, ddof=1) for r in restored))
naive = np.sqrt(metrics.block_mean(deviation**2, block)) / block
quiet = metrics.block_mean(unchanged, block) == 1
print(f"standard deviation of a mean over 4 x 4: {np.median(spread):.1f} DN by samples, {np.median(naive):.1f} DN by std / 4")
print(f"differences of unchanged means: {means[quiet].std():.1f} DN")

limit = metrics.normal_score(0.99)


def flagged_windows(scores: np.ndarray) -> np.ndarray:
    """Windows with a change at 1 %, after the scores were scaled by their median."""
    return scores > limit * np.median(scores) / metrics.normal_score(0.5)


found = flagged_windows(np.abs(means) / spread)
print(f"asked for 1 % false alarms, bound as it is: {100 * (np.abs(means) / spread > limit)[quiet].mean():.2f} % of the unchanged windows")
print(f"scaled by the median of the scores:         {100 * found[quiet].mean():.2f} %")

# %%
# An object counts as detected when a flagged window holds an eighth of it, or is filled by a quarter. For comparison the same with the
# measured scenes themselves, whose noise is known from the profile.

raw = metrics.block_mean(second - first, block)
noise = profile.bands[0].noise
of_noise = np.sqrt(metrics.block_mean(2 * noise.sigma0**2 + noise.gain * (first + second), block)) / block
raw_found = np.abs(raw) / of_noise > limit
contrasts, sides = np.array(contrasts), np.array(sides)


def detected(flagged: np.ndarray) -> np.ndarray:
    """Whether each object lies under a flagged window."""
    shares = [metrics.block_mean(label == k + 1, block) for k in range(len(sides))]
    return np.array([bool(flagged[share >= min(0.25, side**2 / 8 / block**2)].any()) for share, side in zip(shares, sides, strict=True)])


print(f"false alarms: {100 * found[quiet].mean():.2f} % restored, {100 * raw_found[quiet].mean():.2f} % measured")
print("objects detected, restored / measured:")
print("contrast (DN) " + "".join(f"{f'{s} x {s}':>14}" for s in (2, 4, 8)))
ours, theirs = detected(found), detected(raw_found)
for contrast in (40, 80, 160, 320):
    rows = [(sides == s) & (contrasts == contrast) for s in (2, 4, 8)]
    print(f"{contrast:13d} " + "".join(f"{f'{100 * ours[r].mean():.0f} % / {100 * theirs[r].mean():.0f} %':>14}" for r in rows))
print(f"all: {100 * ours.mean():.0f} % / {100 * theirs.mean():.0f} %")

# %%
# What to take from this:
#
# - A restored pair shows many differences. Those within the error bars are no evidence of a change.
# - Error bars of two dates added in squares are an upper bound, as their errors are alike. The median of the scores tells by how much.
# - For places larger than a pixel use samples, not `std / sqrt(n)`.
# - Detection by itself does not need a restoration: the measurement holds all the evidence there is, and where the noise is known its
#   difference can be tested directly. What the restored pair adds is where the change is, how strong it is, and how sure that is.

planted = (after - before)[inside]
strong = np.isin(label, [k + 1 for k in range(len(sides)) if contrasts[k] == 320 and sides[k] == 8])
for name, found_difference in (("planted", planted), ("measured", second - first), ("restored", difference)):
    print(f"objects of 8 x 8 pixels and 320 DN, {name}: {np.abs(found_difference[strong]).mean():.0f} DN")
