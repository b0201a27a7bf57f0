r"""
# 3. Add a sensor

A sensor is a text file: its bands, their blur and their noise. Here one is written, checked on a simulated scene, and then given a wrong
MTF on purpose: what does that do to the result and to its standard deviations, and can it be seen without a truth?
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import torch

import imaging
from imaging import metrics
from imaging.sensors import estimate_sensor

ROOT = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "pleiades_like_pan.tif").exists())
work = tempfile.TemporaryDirectory()

# %%
# ## Write the profile
#
# Two numbers matter most. `nyquist` is the MTF at the Nyquist frequency, half a cycle per pixel; manuals and in-flight assessments give it.
# The noise is a variance that grows with the signal, `sigma0^2 + gain * DN`: with a signal-to-noise ratio S at signal DN, the variance
# there is (DN / S)^2. This one has S = 150 at 1500 DN, two thirds of it shot noise. `source` says where a number comes from; it is printed
# by `imaging-restore --describe-sensor`.

PROFILE = """
name = "my-sensor"
title = "panchromatic imager, 1 m"
state = "raw"
bits = 12

[[bands]]
name = "PAN"
common_name = "pan"
gsd = 1.0

[bands.mtf]
shape = "gaussian"
nyquist = [0.15, 0.15]
source = "assumed: a tutorial"

[bands.noise]
sigma0 = 5.8
gain = 0.044
source = "assumed: SNR 150 at DN 1500, two thirds shot noise"
"""
path = Path(work.name) / "my-sensor.toml"
path.write_text(PROFILE, encoding="utf-8")
profile = imaging.load_profile(path)
band = profile.bands[0]
print(f"SNR at 1500 DN: {1500 / np.sqrt(band.noise.sigma0**2 + band.noise.gain * 1500):.0f}")

# %%
# A misspelt key is refused rather than overlooked:

path.with_name("wrong.toml").write_text(PROFILE.replace("nyquist", "nyqist"), encoding="utf-8")
try:
    imaging.load_profile(path.with_name("wrong.toml"))
except imaging.InputError as error:
    print(str(error).replace(work.name + "/", ""))

# %%
# ## A scene to check it on
#
# `sensor_physics` makes the forward operator of a profile. It takes a scene with some margin and gives what the sensor records. The whole
# scene can also be simulated from a shell, by `scripts/examples/simulate_scene.py`.

MARGIN, SIDE = 8, 224
with rasterio.open(ROOT / "data" / "pleiades_like_pan_reference.tif") as source:
    wide = source.read(1)[150 : 150 + SIDE + 2 * MARGIN, 80 : 80 + SIDE + 2 * MARGIN].astype(np.float32)
truth = wide[MARGIN:-MARGIN, MARGIN:-MARGIN]
physics = imaging.sensor_physics(profile.bands, profile.full_scale, MARGIN)
scene = torch.from_numpy(wide / profile.full_scale)[None, None]
measured = np.rint(physics(scene, seed=0)[0, 0].numpy() * profile.full_scale)

# %%
# ## The right MTF, and wrong ones
#
# The scene is restored as if the MTF at Nyquist were 0.10, 0.12, 0.15 (right), 0.18 and 0.22. Besides PSNR and coverage, which need the
# truth, two figures are printed that do not. The residual is what the restored scene, blurred again by the assumed sensor, leaves of the
# measurement, here in units of the noise that the profile promises. Its variance is below 1, as a restored scene follows the noise at low
# frequencies, where the prior has no reason not to; what is left of the noise is of high frequency, so that neighbouring residuals have
# opposite signs.

assumed = (0.10, 0.12, 0.15, 0.18, 0.22)
inside = np.s_[8:-8, 8:-8]


def residual(restored: np.ndarray, mtf: float) -> np.ndarray:
    """Standardised residual of the measurement, 8 pixels of border left out."""
    bands = (replace(band, mtf=replace(band.mtf, nyquist=(mtf, mtf))),)
    operator = imaging.sensor_physics(bands, profile.full_scale, MARGIN)
    again = operator.A(torch.from_numpy(restored / profile.full_scale).float()[None, None])[0, 0].numpy() * profile.full_scale
    signal = measured[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return (signal - again) / np.sqrt(band.noise.sigma0**2 + band.noise.gain * again)


results = {}
print("assumed    PSNR     90 %     95 %    width of 95 %    residual variance   correlation of neighbours")
for mtf in assumed:
    found = imaging.restore(measured, profile, options=imaging.RestoreOptions(mtf_nyquist=mtf))
    mean, std = found.restored[0], found.std[0]
    r = residual(mean, mtf)
    correlation = (np.corrcoef(r[:, 1:].ravel(), r[:, :-1].ravel())[0, 1] + np.corrcoef(r[1:].ravel(), r[:-1].ravel())[0, 1]) / 2
    results[mtf] = (mean, std)
    print(
        f"   {mtf:.2f}   {metrics.psnr(mean[inside], truth[inside], 4095):5.2f} dB"
        f"   {metrics.coverage(mean[inside], std[inside], truth[inside], 0.9):.3f}"
        f"    {metrics.coverage(mean[inside], std[inside], truth[inside], 0.95):.3f}"
        f"   {metrics.interval_width(std[inside], 0.95):8.1f} DN {r.var():16.3f} {correlation:20.3f}"
    )
print(f"measured   {metrics.psnr(measured[inside], truth[inside], 4095):5.2f} dB")

# %%
figure, axes = plt.subplots(1, 5, figsize=(15, 3.4))
part = np.s_[60:140, 60:140]
low, high = np.percentile(truth[part], [0.5, 99.5])
shown = {"measured": measured, **{f"MTF {m:.2f}": results[m][0] for m in (0.10, 0.15, 0.22)}, "truth": truth}
for axis, (title, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture[part], cmap="gray", vmin=low, vmax=high)
    axis.set_title(title)
    axis.set_axis_off()
figure.tight_layout()

# %%
# What the table says:
#
# - An assumed MTF that is too low undoes more blur than there was: edges overshoot. Too high, and some blur is left.
# - An interval is too narrow where the assumed sensor is sharper than the real one, and too wide where it is softer.
# - The residual hardly tells: compare how much coverage changes from row to row with how much the residual does. A residual far above 1 is
#   a reason to doubt a profile; a small one is no proof of it.
# - The page of `--report` looks at the residual of a posterior draw instead, which should be white ([Seeing what was
#   done](../../report.md)). It shows a wrong noise model; a wrong MTF hardly.
# - So the MTF has to be known from elsewhere: from the manual, or from edges in scenes.
#
# ## Estimate it
#
# `--sensor estimate` measures noise and MTF on the scene itself and writes a profile beside the result; `estimate_sensor` does that for
# arrays. It is told only the values, here of all of the sample's 512 x 512 pixels.

with rasterio.open(ROOT / "data" / "pleiades_like_pan_reference.tif") as source:
    whole = source.read(1).astype(np.float32)
recorded = physics(torch.from_numpy(whole / profile.full_scale)[None, None], seed=1)[0].numpy() * profile.full_scale
recorded = np.rint(recorded)
values = [(recorded, np.ones(recorded.shape, bool))]
try:
    found_profile, report = estimate_sensor(values, ["PAN"], bits=12)
    print(*report, sep="\n")
except imaging.InputError as error:
    print(error)

# %%
# The MTF needs sharp, straight, slanted edges, dozens of them for a good estimate. Where a scene has too few, the estimate is refused
# rather than guessed. With the MTF from elsewhere the noise can be estimated alone:

found_profile, report = estimate_sensor(values, ["PAN"], bits=12, mtf_nyquist=0.15)
print(*report, sep="\n")
true, estimated = (np.sqrt(n.sigma0**2 + n.gain * 1500) for n in (band.noise, found_profile.bands[0].noise))
print(f"noise at 1500 DN: {true:.1f} DN in truth, {estimated:.1f} DN estimated")

# %%
# Texture that covers a whole scene, as grass and trees do in this small one, cannot be told from noise, and the estimate is then too large.
# The warnings are to be taken seriously: a larger scene with water, roofs or roads, or numbers from the manual, are what is needed.

work.cleanup()
