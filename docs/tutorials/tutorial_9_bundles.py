r"""
# 9. A bundle: panchromatic and multispectral bands

Satellites with a sharp panchromatic band and coarser colours deliver both. The sample bundle in `data/` is simulated: a panchromatic
scene of 200 x 200 pixels of 0.7 m, and blue, green, red and near-infrared four times as coarse, whose grid begins one and a half pixels
further right and half a pixel further down. Beside them lie the four bands as a perfect sensor would have seen them on the panchromatic
grid.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import torch

import imaging
from imaging import metrics
from imaging.fusion import bundle_physics

ROOT = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "bundle_pan.tif").exists())
work = tempfile.TemporaryDirectory()
FOLDER = Path(work.name)
for name in ("pan", "ms", "reference"):
    shutil.copy(ROOT / "data" / f"bundle_{name}.tif", FOLDER / f"{name}.tif")


def run(arguments: str) -> None:
    """`imaging-restore` with these arguments; `python -m imaging` is the same command."""
    print(f"$ imaging-restore {arguments}")
    done = subprocess.run([sys.executable, "-m", "imaging", *arguments.split()], capture_output=True, text=True, cwd=FOLDER, check=False)
    print(done.stdout + (done.stderr if done.returncode else ""))


# %%
# ## Fuse
#
# Profiles such as `pleiades-raw` describe all bands, the panchromatic one by its finer `gsd`. Nothing is said of where the grids lie or
# of how much each band contributes to the panchromatic one: the first comes from the georeference, what it leaves over and the weights
# are found from the scene, and told with their errors. The simulation took 0.2, 0.3, 0.3 and 0.2.

run("--input ms.tif --pan pan.tif --sensor pleiades-raw --reference reference.tif")

# %%
# The result has the bands of the multispectral file and the grid of the panchromatic one.

rasters = {}
for name in ("pan", "ms", "ms_restored", "ms_std", "reference"):
    with rasterio.open(FOLDER / f"{name}.tif") as source:
        rasters[name] = source.read().astype(float)
        print(f"{name:12s} {source.count} x {source.shape} {source.dtypes[0]:8s} pixels of {source.res[0]} m from {source.bounds.left:.2f}")
pan, ms, fused, std, truth = rasters.values()
known = np.isfinite(std).all(0)  # where the multispectral scene does not reach there is nothing to say
print(f"{(~known).mean():.1%} of the panchromatic pixels lie beyond the multispectral scene")
fused[:, ~known] = np.nan

# %%
# ## Look at it


def shown(bands: np.ndarray) -> np.ndarray:
    """Red, green and blue, stretched as the truth."""
    low, high = (np.percentile(truth[[2, 1, 0]], q, axis=(1, 2)) for q in (1, 99))
    return np.clip((bands[[2, 1, 0]].transpose(1, 2, 0) - low) / (high - low), 0, 1)


figure, axes = plt.subplots(1, 4, figsize=(13, 3.6))
pictures = {"multispectral": shown(ms), "panchromatic": pan[0], "fused": shown(fused), "truth": shown(truth)}
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture, cmap="gray")
    axis.set_title(title)
    axis.set_axis_off()
figure.tight_layout()

# %%
# ## How sure is it?
#
# Each band has its own standard deviations. Near-infrared has the largest: it has the weakest connection with the panchromatic band. Nine
# in ten of the true values should lie within 1.645 of them.

for name, image, spread, true in zip(("blue", "green", "red", "near-infrared"), fused, std, truth, strict=True):
    error, expected = (np.sqrt(np.mean(v[known] ** 2)) for v in (image - true, spread))
    covered = metrics.coverage(image, spread, true, 0.90, known)
    print(f"{name:14s} error {error:5.1f} DN, deviation {expected:5.1f} DN, 90 % intervals cover {covered:.3f}")

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6))
for axis, title, picture in zip(
    axes, ("near-infrared", "its error", "its deviation"), (fused[3], np.abs(fused - truth)[3], std[3]), strict=True
):
    limits = {} if title == "near-infrared" else {"vmin": 0, "vmax": float(np.nanpercentile(std[3], 99.5)) * 1.5}
    figure.colorbar(axis.imshow(picture, cmap="gray" if not limits else "magma", **limits), ax=axis, fraction=0.046)
    axis.set_title(f"{title} (DN)")
    axis.set_axis_off()
figure.tight_layout()

# %%
# ## Methods
#
# The default for these four bands is one pass of a network. `gaussian` rests on no training at all, and serves any bands.

for method in ("amortised", "gaussian"):
    options = imaging.FuseOptions(method=method, pan_shift=(1.5, 0.5))
    found, spread, _ = imaging.fuse(ms, pan, "pleiades-raw", options=options)
    print(
        f"{method:10s} {metrics.psnr(found, truth, 4095):.2f} dB, 90 % intervals cover {metrics.coverage(found, spread, truth, 0.90):.3f}"
    )

# %%
# ## The same as deepinv physics
#
# A bundle is a stack of two linear physics, which any reconstructor of deepinv takes: from the four bands with a margin to the list of
# both measurements.

bands = imaging.load_profile("pleiades-raw").bands
physics = bundle_physics(bands[:1], bands[1:], torch.tensor([[0.2, 0.3, 0.3, 0.2]]), 4095.0, 4, shift=(1.5, 0.5))
margin = physics.physics_list[1].margin
scene = torch.nn.functional.pad(torch.from_numpy(found / 4095).float()[None], (margin,) * 4, mode="replicate")
for name, seen, measured in zip(("panchromatic", "multispectral"), physics.A(scene), (pan, ms), strict=True):
    left = seen[0] - torch.from_numpy(measured / 4095)
    print(f"{name:14s} {tuple(seen.shape)}, differs from what was measured by {4095 * float(left.std()):.1f} DN")
