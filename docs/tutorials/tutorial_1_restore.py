r"""
# 1. Restore a scene

The sample in `data/` is a simulated panchromatic scene: 512 x 512 pixels of 0.7 m, blurred to an MTF of 0.09 at Nyquist, with a
signal-to-noise ratio of 90. Beside it lies the scene without blur and noise, which nobody has in practice. Here it shows how far the result
is off.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio

import imaging
from imaging import metrics

ROOT = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "pleiades_like_pan.tif").exists())
work = tempfile.TemporaryDirectory()
FOLDER = Path(work.name)
shutil.copy(ROOT / "data" / "pleiades_like_pan.tif", FOLDER / "scene.tif")
shutil.copy(ROOT / "data" / "pleiades_like_pan_reference.tif", FOLDER / "truth.tif")


def run(arguments: str) -> None:
    """`imaging-restore` with these arguments; `python -m imaging` is the same command."""
    print(f"$ imaging-restore {arguments}")
    done = subprocess.run([sys.executable, "-m", "imaging", *arguments.split()], capture_output=True, text=True, cwd=FOLDER, check=False)
    print(done.stdout + (done.stderr if done.returncode else ""))


# %%
# ## What is known of the sensor
#
# A restoration needs the sensor: its blur and its noise. The sample was made with the profile `pleiades-raw`.

run("--describe-sensor pleiades-raw")

# %%
# ## Restore
#
# Two files are written, the restored scene and the standard deviation of each of its pixels. `--reference` compares with the truth.

run("--input scene.tif --sensor pleiades-raw --reference truth.tif")
print(*sorted(p.name for p in FOLDER.iterdir()), sep="\n")

# %%
# ## Look at it
#
# The outputs are GeoTIFFs: same size, data type and georeference as the input.

rasters = {}
for name in ("scene", "scene_restored", "scene_std", "truth"):
    with rasterio.open(FOLDER / f"{name}.tif") as source:
        rasters[name] = source.read(1).astype(float)
        print(f"{name:15s}", source.dtypes[0], source.shape, source.crs, tuple(source.transform)[:6])
measured, restored, std, truth = rasters.values()
print(f"standard deviation: median {np.nanmedian(std):.1f} DN, 99 % below {np.nanpercentile(std, 99):.1f} DN")

window = np.s_[150:300, 100:250]
low, high = np.percentile(truth[window], [0.5, 99.5])
figure, axes = plt.subplots(1, 4, figsize=(13, 3.6))
for axis, title, picture in zip(axes[:3], ["measured", "restored", "truth"], [measured, restored, truth], strict=True):
    axis.imshow(picture[window], cmap="gray", vmin=low, vmax=high)
    axis.set_title(title)
shown = axes[3].imshow(std[window], cmap="magma")
axes[3].set_title("standard deviation (DN)")
figure.colorbar(shown, ax=axes[3], fraction=0.046)
for axis in axes:
    axis.set_axis_off()
figure.tight_layout()

# %%
# The standard deviation is large at edges, whose place and contrast the blurred measurement leaves open, and small in flat parts.
#
# ## How good is it?
#
# PSNR is counted against full scale, 4095 DN. A 90 % interval is `restored -+ 1.645 std`.

inside = np.s_[16:-16, 16:-16]
for name, picture in (("measured", measured), ("restored", restored)):
    print(f"{name}: PSNR {metrics.psnr(picture[inside], truth[inside], 4095):.2f} dB")
for level in (0.5, 0.9, 0.95):
    covered = metrics.coverage(restored[inside], std[inside], truth[inside], level)
    print(f"{100 * level:.0f} % intervals cover {100 * covered:.1f} % of the pixels")

# %%
# ## In Python
#
# `imaging.restore` does the same for an array. Samples are whole scenes that agree with the measurement: where they differ, the measurement
# does not say what is there.

part = np.s_[150:278, 100:228]
options = imaging.RestoreOptions(samples=3)
mean, deviation, samples = imaging.restore(measured[part], "pleiades-raw", options=options)
print("restored", mean.shape, "deviations", deviation.shape, "samples", samples.shape)

figure, axes = plt.subplots(1, 4, figsize=(13, 3.6))
for axis, title, picture in zip(axes, ["mean", "sample 1", "sample 2", "sample 3"], [mean[0], *samples[:, 0]], strict=True):
    axis.imshow(picture[30:100, 30:100], cmap="gray", vmin=low, vmax=high)
    axis.set_title(title)
    axis.set_axis_off()
figure.tight_layout()

# %%
# The values differ a little from those of the file: the array ends where the scene goes on, so that less is known at its border.

far = np.s_[32:-32, 32:-32]
differences = np.abs(mean[0] - restored[part])[far]
print(f"32 pixels from the border: differences of {differences.mean():.2f} DN on average, deviations of {deviation[0][far].mean():.1f} DN")

work.cleanup()
