r"""
# 4. Train a prior

A prior is trained from images alone; no sensor takes part. This page trains a toy: a network far smaller than the shipped `pan`, for about
a minute, on a few photographs of textures that scikit-image brings along. It shows the steps and the files. What comes out is no prior to
work with, and the last section measures how far off it is. For a real one: [Priors](../../priors.md), hours of a core and hundreds of
images of the kind that is to be restored.
"""

import csv
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
from PIL import Image
from skimage import data as pictures

import imaging
from imaging import metrics

ROOT = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "pleiades_like_pan.tif").exists())
work = tempfile.TemporaryDirectory()
FOLDER = Path(work.name)

# %%
# ## Images
#
# Any folder of 8-bit images or 12-bit GeoTIFFs. Some are kept apart for validation; these must be of 256 x 256 pixels.

for part, names in {"train": ("brick", "grass", "gravel", "coins"), "validation": ("camera",)}.items():
    (FOLDER / "images" / part).mkdir(parents=True)
    for name in names:
        picture = getattr(pictures, name)()[128:384, 128:384] if part == "validation" else getattr(pictures, name)()
        Image.fromarray(picture).save(FOLDER / "images" / part / f"{name}.png")
        print(part, name, picture.shape)

# %%
# ## A recipe
#
# The family is that of `pan`, a lapped block transform with learned corrections, with far fewer channels. Training counts steps here, so
# that the same command gives the same weights; with `minutes` it would go by the clock.

RECIPE = """
name = "toy"
title = "a toy: four photographs of textures, a minute"
family = "lapped"

[model]
channels = 1
alpha = 0.18
width = 24
blocks = 1
fine = 12
fine_blocks = 1
hyper = 12
hidden = 24

[data]
train = ["train/*.png"]
validation = ["validation/*.png"]
validation_count = 1

[training]
steps = 1000
batch = 8
crop = 64
learning_rate = 1e-3
warmup = 50
average = 0.98
gain = [0.25, 1.2]
shrink = 0.3
narrowest = 0.3
std_share = 0.15
seed = 0
"""
(FOLDER / "recipe.toml").write_text(RECIPE, encoding="utf-8")

# %%
# ## Train
#
# The script writes a checkpoint about each minute and can be interrupted; the same command goes on. `--release` writes the model folder.

command = "scripts.train.prior recipe.toml --data images --work run --release toy --device cpu"
print("$ python -m", command)
place = {"cwd": FOLDER, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
done = subprocess.run([sys.executable, "-m", *command.split()], **place, capture_output=True, text=True, check=False)
print(done.stdout if done.returncode == 0 else done.stderr)
print(*sorted(p.relative_to(FOLDER).as_posix() for folder in ("run", "toy") for p in (FOLDER / folder).iterdir()), sep="\n")

# %%
# `log.csv` has the validation curve: bits per pixel, PSNR of the decoded images, and the objective, weighted error plus bits.

with (FOLDER / "run" / "log.csv").open(encoding="utf-8") as file:
    for row in csv.DictReader(file):
        print({k: row[k] for k in ("step", "bits", "psnr", "objective", "std_nll")})
release = tomllib.loads((FOLDER / "toy" / "recipe.toml").read_text(encoding="utf-8"))["release"]
shipped = tomllib.loads((ROOT / "models" / "pan" / "recipe.toml").read_text(encoding="utf-8"))["release"]
print(f"{release['parameters']} parameters, {release['steps']} steps of 8 crops; pan: {shipped['parameters']} parameters")

# %%
# ## Use it
#
# A folder is a prior: `--prior toy`, or `imaging.RestoreOptions(prior="toy")`. A part of the sample restored with the toy, with `pan`, and
# with `vae-small`, a shipped prior of ten minutes:

part = np.s_[100:292, 200:392]
scenes = []
for name in ("pleiades_like_pan.tif", "pleiades_like_pan_reference.tif"):
    with rasterio.open(ROOT / "data" / name) as source:
        scenes.append(source.read(1)[part].astype(float))
measured, truth = scenes
inside = np.s_[8:-8, 8:-8]
results = {}
print(f"measured    {metrics.psnr(measured[inside], truth[inside], 4095):.2f} dB")
for name in ("toy", "vae-small", "pan"):
    options = imaging.RestoreOptions(prior=str(FOLDER / "toy") if name == "toy" else name)
    found = imaging.restore(measured, "pleiades-raw", options=options)
    mean, std = found.restored[0][inside], found.std[0][inside]
    results[name] = found.restored[0]
    covered = [100 * metrics.coverage(mean, std, truth[inside], level) for level in (0.9, 0.95)]
    score = metrics.psnr(mean, truth[inside], 4095)
    print(f"{name:10s}  {score:.2f} dB, 90 and 95 % intervals cover {covered[0]:.0f} and {covered[1]:.0f} %")

figure, axes = plt.subplots(1, 5, figsize=(15, 3.4))
low, high = np.percentile(truth, [0.5, 99.5])
for axis, (title, picture) in zip(axes, [("measured", measured), *results.items(), ("truth", truth)], strict=True):
    axis.imshow(picture[60:140, 60:140], cmap="gray", vmin=low, vmax=high)
    axis.set_title(title)
    axis.set_axis_off()
figure.tight_layout()

# %%
# The block transform, which is no learned part, carries a good share of the result; that is why so little training already restores. The
# toy's standard deviations are not calibrated: its recipe has no `[calibration]`, which `scripts/release/prior.py` finds on scenes kept
# apart.
# Without them do not believe the coverage of a prior of your own.

work.cleanup()
