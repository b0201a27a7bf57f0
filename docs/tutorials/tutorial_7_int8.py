r"""
# 7. Search and run a network in 8-bit integers

`imaging-superres` runs small networks in integers. This page goes the whole way in small: search a network, train it, train it again
quantised, export it to ONNX, and run the integers with ONNX Runtime. The data are six photographs from scikit-image and the training takes
a minute, so the result is a toy; the shipped `quantnas-sat-x2` is run beside it.
"""

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage import data as pictures

from imaging.superres import (
    BitOps,
    Network,
    Search,
    SearchSettings,
    SearchSpace,
    SuperResolver,
    Training,
    TrainingSettings,
    blueprint,
    derive,
    export,
    reported,
)
from imaging.superres.data import CropSettings, Degradation, Pairs, psnr, tiles_of

torch.manual_seed(0)
torch.set_num_threads(min(2, torch.get_num_threads()))

# %%
# ## Data
#
# Fine crops, and coarse ones made of them: blur to a drawn MTF, means over pixels, as a detector takes them. Weights and architecture of a
# search learn from different images.

names = ("camera", "brick", "grass", "gravel", "coins", "moon")
images = [getattr(pictures, name)()[None] for name in names]
degradation, crops = Degradation(kind="sensor"), CropSettings(batch=8, crop=24)
pairs = {
    name: Pairs(tiles_of(part, 128, 1), 1, 2, degradation, crops, seed)
    for seed, (name, part) in enumerate({"weights": images[::2], "alphas": images[1::2], "all": images}.items())
}

# %%
# ## Search
#
# Each layer of the supernet is a mixture over operations and bit widths. The loss of the mixture's probabilities has a penalty on bit
# operations. Quantisation is imitated by noise of one step.

space = SearchSpace(kind="basic", bands=1, scale=2, channels=16, cells=2, head=1, body=2, bits=(4, 8))
search = Search(space, SearchSettings(epochs=4, steps=15, warmup=1, penalty=1e-3))
for figures in search.run(pairs["weights"], pairs["alphas"]):
    print(f"epoch {figures['epoch']}: loss {figures['loss']:.4f}, {figures['cost'] / 1e3:.0f} thousand bit operations a coarse pixel")
genotype = derive(search.supernet)
for layer, (operation, bits) in genotype.choice.items():
    print(f"{layer:10s} {operation:8s} {bits} bits")

# %%
# Layers of fewer than 8 bits can be searched and trained, but no kernels run them. For the export all layers are taken at 8 bits.

genotype = genotype.at(8)
plan = blueprint(genotype, "adq")
print(f"{plan.macs()} multiplications a coarse pixel, {reported(genotype, BitOps()) / 1e3:.0f} thousand bit operations")

# %%
# ## Train, in float and then quantised


def trained(network: Network, steps: int, rate: float) -> Network:
    """The averaged network after so many steps."""
    training = Training(network, TrainingSettings(steps=steps, rate=rate, average=0.98))
    for figures in training.run(pairs["all"], every=steps // 3):
        print(f"step {figures['step']:4d}: loss {figures['loss']:.4f}")
    return training.average


floating = trained(Network(plan), 450, 2e-3).fold()
quantised = Network(plan).fold()
quantised.load_state_dict(floating.state_dict())
quantised.quantise([pairs["all"].draw()[0] for _ in range(4)])
print("quantised")
quantised = trained(quantised, 90, 2e-4)

# %%
# ## Export
#
# One ONNX file for each precision and a manifest beside it. A folder with these and a recipe that names the family is a model that
# `imaging-superres --model FOLDER` takes.

work = tempfile.TemporaryDirectory()
folder = Path(work.name) / "toy"
folder.mkdir()
(folder / "recipe.toml").write_text('name = "toy"\nfamily = "superres"\n', encoding="utf-8")
export(quantised, "toy", folder / "int8.onnx", quantised=True)
export(floating, "toy", folder / "float32.onnx", quantised=False)
for path in sorted(folder.iterdir()):
    print(f"{path.name:14s} {path.stat().st_size / 1e3:7.1f} kB")

# %%
# ## Run
#
# A picture that nothing was learned from: the cat, mean of its bands. PSNR of the fine picture; time of a window of 256 x 256 coarse pixels
# on one thread, best of five.

cat = torch.from_numpy(pictures.chelsea()[:296, :440].mean(2) / 255)[None, None].float()
coarse = Degradation(kind="sensor", mtf=(0.5, 0.5)).apply(cat, 2, torch.Generator().manual_seed(1))
window = np.random.default_rng(0).random((256, 256), np.float32)


def seconds(model: SuperResolver) -> float:
    """Of a window, best of five."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        model(window)
        times.append(time.perf_counter() - began)
    return min(times)


found = {"bicubic": torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bicubic")}
print(f"{'bicubic':28s} {float(psnr(found['bicubic'], cat, 8)):.2f} dB")
for name, source in (("toy", str(folder)), ("quantnas-sat-x2", "quantnas-sat-x2")):
    for precision in ("float32", "int8"):
        model = SuperResolver(source, precision, threads=1)
        fine = torch.from_numpy(model(coarse[0].numpy()))[None]
        found[f"{name}, {precision}"] = fine
        print(f"{name + ', ' + precision:28s} {float(psnr(fine, cat, 8)):.2f} dB  {1e3 * seconds(model):6.1f} ms")

figure, axes = plt.subplots(1, 4, figsize=(14, 3.6))
shown = {k: found[k] for k in ("bicubic", "toy, int8", "quantnas-sat-x2, int8")} | {"truth": cat}
for axis, (title, x) in zip(axes, shown.items(), strict=True):
    axis.imshow(x[0, 0, 60:180, 120:260].clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
figure.tight_layout()

# %%
# Torch in evaluation sums whole numbers as the integer kernels do. What ONNX Runtime makes of the exported file is therefore what was
# trained, up to ties of rounding:

with torch.no_grad():
    x = coarse[..., :96, :96]
    difference = 255 * np.abs(quantised(x).numpy() - SuperResolver(str(folder), "int8").window(x.numpy()))
print(f"int8 against torch: {difference.max():.3f} grey levels of 255 at most, {difference.mean():.5f} on average")
print(f"int8 against float32: {255 * float((found['toy, int8'] - found['toy, float32']).abs().mean()):.2f} grey levels on average")
work.cleanup()
