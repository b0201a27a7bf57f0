"""Compare super-resolution networks: quality on test sets against bit operations and measured milliseconds; speed of the released ones.

    python -m scripts.bench superres --data DATA_FOLDER [--runs RUNS_FOLDER --recipe RECIPE.toml] [--picture pareto.png]

Quality is PSNR (dB) of the Y channel, as many border pixels left out as the scale; coarse images are made by the recipe: antialiased
bicubic rounded to 8 bits, or a sensor. Each folder below --runs is one of scripts.train.superres, of the recipe's bands and scale; layers
of fewer than 8 bits are simulated in kernels of 8, with their own levels. Milliseconds and ratios are CPU time of ONNX Runtime, the least
of several runs; where openvino is installed, its float32 and bfloat16 are timed beside. A band of Sentinel-2's 10 980 x 10 980 pixels is
extrapolated from a scene of 2048 x 2048, read and written as a GeoTIFF.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from imaging.restoration import SuperResolveOptions, super_resolve_scene
from imaging.superres import Genotype, Network, Search, SearchSettings, SearchSpace, SupernetSettings, blueprint, list_models, load_network
from imaging.superres.data import CropSettings, Degradation, Pairs, psnr
from imaging.superres.export import to_onnx
from imaging.superres.handmade import HANDMADE, at_bits
from imaging.superres.networks import super_resolve
from imaging.superres.recipes import Recipe, whole_image
from imaging.superres.runtime import session
from imaging.superres.zoo import find_model, model_file
from imaging.training import read_image
from scripts.bench.memory import write_scene
from scripts.bench.results import Results
from scripts.bench.tables import Columns, Record, Records, grouped, where
from scripts.command import ROOT, SAMPLE
from scripts.scenes import Array
from scripts.split import superres_set

SIDE, RUNS, SCENE, TILE = 256, 7, 2048, 10_980
OPTIONS = {
    "--data": {}, "--picture": {}, "--runs": {"type": Path, "help": "folder of run folders"},
    "--recipe": {"type": Path, "default": ROOT / "models" / "quantnas-x4" / "recipe.toml", "help": "of the runs"},
    "--parts": {"nargs": "+", "default": ["quality", "speed", "scene", "search"], "help": "only these tables, and that of --runs"},
}  # fmt: skip
SHAPES = {"direct": "D", "random": "^"}


def test_pairs(paths: list[Path], bands: int, scale: int, degradation: Degradation) -> list[tuple[Tensor, Tensor]]:
    """Coarse and fine images of a test set."""
    found = []
    for k, path in enumerate(paths):
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


def cpu_time(run: Callable[[dict[str, Array]], Any], bands: int) -> float:
    """Least CPU time (ms) of several runs on a window, after one."""
    given = {"input": np.random.default_rng(0).random((1, bands, SIDE, SIDE), np.float32)}
    run(given)
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        run(given)
        times.append(time.process_time() - began)
    return 1e3 * min(times)


def milliseconds(path: Path, bands: int, *, integer: bool) -> float:
    """CPU time (ms) of ONNX Runtime for a window, on one thread."""
    return cpu_time(partial(session(path, threads=1, integer=integer).run, None), bands)


def openvino_milliseconds(path: Path, bands: int, hint: str) -> float | None:
    """The same of OpenVINO; None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    return cpu_time(core.compile_model(core.read_model(path), "CPU", settings), bands)


def contestant(weights: Path, recipe: Recipe, images: list[tuple[Tensor, Tensor]]) -> Record:
    """Figures of a quantised network of a run folder."""
    genotype, bits = weights.with_name("genotype.json"), weights.stem.partition("-")[2]
    size = recipe.space.bands, recipe.space.scale
    plan = blueprint(Genotype.load(genotype)) if genotype.exists() else HANDMADE[weights.parent.name](*size)
    plan = at_bits(plan, int(bits)) if bits else plan
    network = Network(plan).fold()
    network.attach_quantisers()
    network.load_state_dict(load_file(weights))
    exported = weights.parent / "timed.onnx"
    exported.write_bytes(to_onnx(network, quantised=True).SerializeToString())
    kept = {n.bits for n in plan.nodes[1:] if n.kind == "conv"}
    return {
        "bits": "/".join(map(str, sorted(kept))), "macs": plan.macs(), "gbitops": plan.bitops() * 1024 / 1e9,
        "ms": milliseconds(exported, recipe.space.bands, integer=True), "psnr": score(whole(network.eval()), images, recipe.space.scale),
    }  # fmt: skip


def draw(records: Records, path: Path) -> None:
    """PSNR against bit operations and against milliseconds; numbers are explained beside, the line joins what nothing beats.

    Squares are made by hand, names that begin as in `SHAPES` have those, the others are circles.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    found = sorted(where(records, part="runs"), key=lambda r: (r["name"] not in HANDMADE, r["gbitops"]))
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


def quality(name: str, images: list[tuple[Tensor, Tensor]]) -> Record:
    """PSNR (dB) of a released model and of interpolation."""
    networks = {kind: load_network(name, quantised=kind == "int8") for kind in ("float32", "int8")}
    scale = networks["int8"].plan.scale
    plain = partial(F.interpolate, scale_factor=scale, mode="bicubic", antialias=True)
    return {"bicubic": score(plain, images, scale)} | {kind: score(whole(n), images, scale) for kind, n in networks.items()}


def speed(name: str, bands: int) -> Record:
    """Milliseconds of a released model."""
    plain, integer = (model_file(find_model(name), p)[0] for p in ("float32", "int8"))
    times = {"float32": milliseconds(plain, bands, integer=False), "int8": milliseconds(integer, bands, integer=True)}
    rivals = {"openvino": (plain, "f32"), "openvino_bf16": (plain, "bf16"), "openvino_int8": (integer, "f32")}
    others = {k: openvino_milliseconds(path, bands, hint) for k, (path, hint) in rivals.items()}
    return {"macs": load_network(name).plan.macs(), **times, "ratio": times["float32"] / times["int8"], **others}


def scene_time(precision: str) -> Record:
    """Seconds of a whole scene, and minutes of a Sentinel-2 tile's band by extrapolation."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "scene.tif"
        write_scene(source, SAMPLE, SCENE)
        options = SuperResolveOptions(scale=2, precision=precision, range=4095)
        result = super_resolve_scene(source, output=Path(folder) / f"{precision}.tif", options=options)
    minutes = result.seconds * (TILE / SCENE) ** 2 / 60
    return {"model": result.prior, "seconds": result.seconds, "fitting": result.stages["fitting"], "minutes": minutes}


def search_time(kind: str, bands: int, scale: int) -> Record:
    """CPU seconds of steps of weights and alphas, noise and direct quantisation in turns."""
    tiles = torch.randint(0, 4096, (8, bands, 160, 160), dtype=torch.int16, generator=torch.Generator().manual_seed(0))
    space = SearchSpace(kind=kind, bands=bands, scale=scale, channels=32, cells=2)
    ways = {q: Search(space, SearchSettings(), SupernetSettings(quantisation=q)) for q in ("noise", "direct")}
    pairs = Pairs(tiles, bands, scale, Degradation(), CropSettings(batch=4, crop=24), 0)
    spent: dict[str, list[float]] = {q: [] for q in ways}
    for _ in range(6):
        for quantisation, search in ways.items():
            began = time.process_time()
            search.step_alphas(pairs)
            search.step_weights(pairs)
            spent[quantisation].append(time.process_time() - began)
    least = {q: min(times[1:]) for q, times in spent.items()}
    return least | {"ratio": least["noise"] / least["direct"]}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """The parts that are asked for."""
    for name in (m.name for m in list_models()):
        recipe = Recipe.parse((find_model(name) / "recipe.toml").read_text(encoding="utf-8"))
        bands, scale = recipe.space.bands, recipe.space.scale
        for test in ("Set5", "Set14") if "quality" in arguments.parts else ():
            images = test_pairs(superres_set(arguments.data, test), bands, scale, recipe.degradation)
            results.once({"part": "quality", "model": name, "set": test}, quality, name, images)
        if "speed" in arguments.parts:
            results.once({"part": "speed", "model": name}, speed, name, bands)
    recipe = Recipe.parse(arguments.recipe.read_text(encoding="utf-8"))
    bands, scale = recipe.space.bands, recipe.space.scale
    for precision in ("int8", "float32") if "scene" in arguments.parts else ():
        results.once({"part": "scene", "precision": precision}, scene_time, precision)
    for kind in ("basic", "rfdn") if "search" in arguments.parts else ():
        results.once({"part": "search", "space": kind}, search_time, kind, bands, scale)
    if arguments.runs:
        images = test_pairs(superres_set(arguments.data, "Set14"), bands, scale, recipe.degradation)
        for weights in sorted(arguments.runs.glob("*/quantised*.safetensors")):
            key = {"part": "runs", "name": weights.parent.name, "weights": weights.stem}
            results.once(key, contestant, weights, recipe, images)


def tables(records: Records) -> dict[str, str]:
    """Of each part, and the quality of each model alone."""
    scores = {k: (k, ".2f") for k in ("bicubic", "float32", "int8")}
    parts: dict[str, tuple[dict[str, str], Columns]] = {
        "quality": ({"model": "model", "set": "test set"}, scores),
        "speed": ({"model": "model"}, {
            "macs": ("MACs of a coarse pixel", ".0f"), "float32": ("float32 ms", ".1f"), "int8": ("int8 ms", ".1f"),
            "ratio": ("ratio", ".2f"), "openvino": ("OpenVINO float32", ".1f"), "openvino_bf16": ("bfloat16", ".1f"),
            "openvino_int8": ("int8", ".1f"),
        }),
        "scene": ({"model": "model", "precision": "precision"}, {
            "seconds": (f"{SCENE} x {SCENE}, x2: s", ".1f"), "fitting": ("of these fitting", ".1f"),
            "minutes": ("10 980 x 10 980: minutes", ".1f"),
        }),
        "search": ({"space": "space"}, {"noise": ("noise: s a step", ".3f"), "direct": ("direct", ".3f"), "ratio": ("ratio", ".2f")}),
        "runs": ({"name": "network", "bits": "bits"}, {
            "macs": ("MACs", ".0f"), "gbitops": ("GBitOps", ".2f"), "ms": ("int8 ms", ".1f"), "psnr": ("Set14", ".2f"),
        }),
    }  # fmt: skip
    found = {part: grouped(where(records, part=part), *how) for part, how in parts.items() if where(records, part=part)}
    for model in dict.fromkeys(r["model"] for r in where(records, part="quality")):
        found[f"quality of {model}"] = grouped(where(records, part="quality", model=model), {"set": "test set"}, scores)
    return found
