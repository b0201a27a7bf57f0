"""Compare super-resolution networks: quality on test sets against bit operations and measured milliseconds; speed of the released ones.

    python scripts/benchmark_sr.py --data DATA_FOLDER [--runs RUNS_FOLDER --recipe RECIPE.toml] [--picture pareto.png] [--output tables.md]

Quality is PSNR (dB) of the Y channel, as many border pixels left out as the scale; coarse images are made by the recipe: antialiased
bicubic rounded to 8 bits, or a sensor. Each folder below --runs is one of scripts/train_sr.py, of the recipe's bands and scale; layers of
fewer than 8 bits are simulated in kernels of 8, with their own levels. Milliseconds and ratios are CPU time of ONNX Runtime, the least of
several runs; where openvino is installed, its float32 and bfloat16 are timed beside. A band of Sentinel-2's 10 980 x 10 980 pixels is
extrapolated from a scene of 2048 x 2048, read and written as a GeoTIFF.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from imaging.restoration import ScenePaths, SuperResolveOptions, run_scene
from imaging.superres import Genotype, Network, Search, SearchSettings, SearchSpace, SupernetSettings, blueprint, list_models, load_network
from imaging.superres.blueprint import Blueprint
from imaging.superres.data import CropSettings, Degradation, Pairs, psnr
from imaging.superres.export import to_onnx
from imaging.superres.handmade import HANDMADE, at_bits
from imaging.superres.networks import super_resolve
from imaging.superres.recipes import Recipe, whole_image
from imaging.superres.runtime import session
from imaging.superres.zoo import find_model, model_file
from imaging.training import read_image

SIDE, RUNS, SCENE, TILE = 256, 7, 2048, 10_980
SHAPES = {"direct": "D", "random": "^"}


def test_pairs(folder: Path, bands: int, scale: int, degradation: Degradation) -> list[tuple[Tensor, Tensor]]:
    """Coarse and fine images of a test set."""
    found = []
    for k, path in enumerate(sorted(folder.glob("*.png"))):
        fine = whole_image(read_image(path), bands, scale)
        found.append((degradation.apply(fine, scale, torch.Generator().manual_seed(k)), fine))
    return found


@torch.no_grad()
def score(network: Callable[[Tensor], Tensor], images: list[tuple[Tensor, Tensor]], scale: int) -> float:
    """Mean PSNR (dB)."""
    return float(torch.cat([psnr(network(coarse), fine, scale) for coarse, fine in images]).mean())


def whole(network: Network) -> Callable[[Tensor], Tensor]:
    """A network on whole images."""
    return lambda x: super_resolve(network, x, network.margin, network.plan.scale)


def bicubic(scale: int) -> Callable[[Tensor], Tensor]:
    """Interpolation."""
    return lambda x: F.interpolate(x, scale_factor=scale, mode="bicubic", antialias=True)


def cpu_time(run: Callable[[], Any]) -> float:
    """Least CPU time (s) of several runs, after one."""
    run()
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def milliseconds(path: Path, bands: int, *, integer: bool) -> float:
    """CPU time (ms) of ONNX Runtime for a window, on one thread."""
    running = session(path, threads=1, integer=integer)
    x = np.random.default_rng(0).random((1, bands, SIDE, SIDE), np.float32)
    return 1e3 * cpu_time(lambda: running.run(None, {"input": x}))


def openvino_milliseconds(path: Path, bands: int, hint: str) -> float | None:
    """The same of OpenVINO; None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    x = np.random.default_rng(0).random((1, bands, SIDE, SIDE), np.float32)
    return 1e3 * cpu_time(lambda: compiled({"input": x}))


def plan_of(folder: Path, recipe: Recipe) -> Blueprint:
    """What was trained in a run folder."""
    genotype = folder / "genotype.json"
    if genotype.exists():
        return blueprint(Genotype.load(genotype))
    return HANDMADE[folder.name](recipe.space.bands, recipe.space.scale)


def contestants(runs: Path, recipe: Recipe, data: Path) -> list[dict[str, Any]]:
    """Figures of each quantised network below a folder."""
    bands, scale, found = recipe.space.bands, recipe.space.scale, []
    images = test_pairs(data / "sr_test" / "Set14", bands, scale, recipe.degradation)
    for folder in sorted(p for p in runs.iterdir() if p.is_dir()):
        for weights in sorted(folder.glob("quantised*.safetensors")):
            plan, bits = plan_of(folder, recipe), weights.stem.partition("-")[2]
            plan = at_bits(plan, int(bits)) if bits else plan
            network = Network(plan).fold()
            network.attach_quantisers()
            network.load_state_dict(load_file(weights))
            exported = folder / "timed.onnx"
            exported.write_bytes(to_onnx(network, quantised=True).SerializeToString())
            kept = {n.bits for n in plan.nodes[1:] if n.kind == "conv"}
            found.append({
                "name": folder.name, "bits": "/".join(map(str, sorted(kept))), "macs": plan.macs(), "gbitops": plan.bitops() * 1024 / 1e9,
                "ms": milliseconds(exported, bands, integer=True),
                "psnr": score(whole(network.eval()), images, scale),
            })  # fmt: skip
            print("{name} {bits} bit: {macs} MACs, {gbitops:.2f} GBitOps, {ms:.1f} ms, {psnr:.3f} dB".format(**found[-1]), flush=True)
    return found


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """PSNR against bit operations and against milliseconds; numbers are explained beside, the line joins what nothing beats.

    Squares are made by hand, names that begin as in `SHAPES` have those, the others are circles.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    found = sorted(found, key=lambda r: (r["name"] not in HANDMADE, r["gbitops"]))
    for axis, key, label in zip(
        axes, ("gbitops", "ms"), ("GBitOps of 32 x 32 coarse pixels", f"ms of {SIDE} x {SIDE}, 8-bit kernels"), strict=True
    ):
        best = [r for r in found if not any(o[key] <= r[key] and o["psnr"] > r["psnr"] for o in found)]
        best.sort(key=lambda r: float(r[key]))
        axis.plot([r[key] for r in best], [r["psnr"] for r in best], color="lightblue", zorder=0)
        for number, r in enumerate(found, 1):
            made = r["name"] in HANDMADE
            look = {"color": "grey" if made else "blue", "fillstyle": "full" if r["bits"] == "8" else "none"}
            said = f"{number}  {r['name']}, {r['bits']} bits" if key == "ms" else None
            shape = "s" if made else next((s for start, s in SHAPES.items() if r["name"].startswith(start)), "o")
            axis.plot(r[key], r["psnr"], shape, label=said, **look)
            axis.annotate(str(number), (r[key], r["psnr"]), fontsize=8, xytext=(4, 3), textcoords="offset points")
        axis.set(xlabel=label, xscale="log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("PSNR (dB), Set14, Y; open: simulated below 8 bits")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False, handlelength=1)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def released(data: Path) -> list[str]:
    """Tables of quality and speed of the released models."""
    quality = ["| model | test set | bicubic | float32 | int8 |", "|---|---|---|---|---|"]
    speed = ["| model | MACs of a coarse pixel | float32 ms | int8 ms | ratio | OpenVINO float32 | bfloat16 | int8 |", "|" + "---|" * 8]
    for name in (m.name for m in list_models()):
        folder = find_model(name)
        recipe = Recipe.parse((folder / "recipe.toml").read_text(encoding="utf-8"))
        networks = [load_network(name, quantised=q) for q in (False, True)]
        bands, scale = recipe.space.bands, recipe.space.scale
        for test in ("Set5", "Set14"):
            images = test_pairs(data / "sr_test" / test, bands, scale, recipe.degradation)
            scores = [score(bicubic(scale), images, scale), *(score(whole(n), images, scale) for n in networks)]
            quality.append(f"| {name} | {test} | " + " | ".join(f"{s:.2f}" for s in scores) + " |")
            print(quality[-1], flush=True)
        paths = [model_file(folder, p)[0] for p in ("float32", "int8")]
        plain, integer = (milliseconds(p, bands, integer=k > 0) for k, p in enumerate(paths))
        rivals = [
            openvino_milliseconds(paths[0], bands, "f32"),
            openvino_milliseconds(paths[0], bands, "bf16"),
            openvino_milliseconds(paths[1], bands, "f32"),
        ]
        shown = " | ".join("-" if r is None else f"{r:.1f}" for r in rivals)
        speed.append(f"| {name} | {networks[0].plan.macs()} | {plain:.1f} | {integer:.1f} | {plain / integer:.2f} | {shown} |")
        print(speed[-1], flush=True)
    return [*quality, "", *speed]


def scene_times() -> list[str]:
    """Seconds of whole scenes, and of a Sentinel-2 tile's band by extrapolation."""
    lines = ["| model | precision | 2048 x 2048, x2: s | of these fitting | 10 980 x 10 980: minutes |", "|" + "---|" * 5]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "scene.tif"
        rng = np.random.default_rng(0)
        coarse = torch.from_numpy(rng.random((1, 1, SCENE // 8, SCENE // 8), np.float32))
        values = (400 + 2000 * F.interpolate(coarse, (SCENE, SCENE), mode="bicubic").clamp(0, 1)[0].numpy()).astype(np.uint16)
        profile = {"driver": "GTiff", "width": SCENE, "height": SCENE, "count": 1, "dtype": "uint16", "crs": "EPSG:32631", "tiled": True}
        with rasterio.open(source, "w", transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5e6), **profile) as target:
            target.write(values)
        for precision in ("int8", "float32"):
            paths = ScenePaths(input=source, output=Path(folder) / f"{precision}.tif")
            result = run_scene(paths, None, SuperResolveOptions(scale=2, precision=precision, range=4095))
            minutes = result.seconds * (TILE / SCENE) ** 2 / 60
            lines.append(f"| {result.prior} | {precision} | {result.seconds:.1f} | {result.stages['fitting']:.1f} | {minutes:.1f} |")
            print(lines[-1], flush=True)
    return lines


def search_times(recipe: Recipe) -> list[str]:
    """CPU seconds of steps of weights and alphas, noise and direct quantisation in turns."""
    tiles = torch.randint(0, 4096, (8, recipe.space.bands, 160, 160), dtype=torch.int16, generator=torch.Generator().manual_seed(0))
    crops = CropSettings(batch=4, crop=24)
    lines = ["| space | noise: s a step | direct | ratio |", "|---|---|---|---|"]
    for kind in ("basic", "rfdn"):
        space = SearchSpace(kind=kind, bands=recipe.space.bands, scale=recipe.space.scale, channels=32, cells=2)
        ways = {q: Search(space, SearchSettings(), SupernetSettings(quantisation=q)) for q in ("noise", "direct")}
        pairs = Pairs(tiles, space.bands, space.scale, Degradation(), crops, 0)
        spent: dict[str, list[float]] = {q: [] for q in ways}
        for _ in range(6):
            for quantisation, search in ways.items():
                began = time.process_time()
                search.step_alphas(pairs)
                search.step_weights(pairs)
                spent[quantisation].append(time.process_time() - began)
        noise, direct = (min(times[1:]) for times in spent.values())
        lines.append(f"| {kind} | {noise:.3f} | {direct:.3f} | {noise / direct:.2f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, help="folder of run folders")
    parser.add_argument("--recipe", type=Path, default=Path("models/quantnas-x4/recipe.toml"), help="of the runs")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{os.cpu_count()} cores; windows of {SIDE} x {SIDE} coarse pixels, one thread, CPU time.",
        "",
        *released(arguments.data),
        "",
        *scene_times(),
    ]
    recipe = Recipe.parse(arguments.recipe.read_text(encoding="utf-8"))
    lines += ["", *search_times(recipe)]
    if arguments.runs:
        found = contestants(arguments.runs, recipe, arguments.data)
        lines += ["", "| network | bits | MACs | GBitOps | int8 ms | Set14 |", "|" + "---|" * 6]
        lines += [f"| {r['name']} | {r['bits']} | {r['macs']} | {r['gbitops']:.2f} | {r['ms']:.1f} | {r['psnr']:.2f} |" for r in found]
        if arguments.picture:
            draw(found, arguments.picture)
        if arguments.output:
            arguments.output.with_suffix(".json").write_text(json.dumps(found, indent=1))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
