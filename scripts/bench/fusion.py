"""Bundles of a panchromatic and four coarser bands: the methods of imaging-restore against others, by Wald's protocol.

    python -m scripts.bench fusion --data DATA_FOLDER [--methods gaussian GSA ...] [--scenes tuning|test] [--bundles TEXT] [--large]

Scenes: NAIP tiles, four bands, as the bundles of scripts/bundles.py see them: four sensors, and one of them with weights
or MTF told wrong, shifted grids, and a panchromatic band that sees what no other does. 32 pixels around the measurement are unknown, 16 of
its border are not scored. PSNR has full scale as peak; ERGAS and the spectral angle are those of torchmetrics, Q2n that of sewar (blocks of
32 x 32 pixels). Weights of TV were tuned on tuning tiles. No bundle of a real satellite is among the data sets: QNR is not measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis, spectral_angle_mapper

from imaging.metrics import block_mean, coverage, psnr
from imaging.moments import Posterior
from imaging.names import AUTO, FUSIONS, GAUSSIAN
from imaging.restoration.bundle import Pieces, make_stack
from imaging.restoration.fuse_arrays import ArrayBundle
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.fusion_choice import choose_fusion_method
from imaging.restoration.fusion_methods import BundleWindow
from scripts.bench.results import Results
from scripts.bench.scores import figures
from scripts.bench.tables import FIGURES, Columns, Record, Records, grouped, pick, table, where, with_interval, with_intervals
from scripts.bundles import CASES, MARGIN, Bundle, bundles, simulate
from scripts.rivals.pansharpening import METHODS
from scripts.scenes import FULL, Array
from scripts.split import tiles

RIVALS = ("GSA", "restored PAN + GSA", "joint TV")
"""Whose ERGAS is compared tile by tile."""
BLOCK = 4
"""Side of the blocks whose means' intervals are scored."""
_UNSEEN = ("ssim", "width")
"""Figures that no table shows."""
SIDE = 1024
"""Panchromatic pixels along a side of a scene that methods are timed on."""
LARGE = f"{SIDE} x {SIDE} pixels"
COLUMNS: Columns = {
    "psnr": FIGURES["psnr"], "bands": ("R G B NIR", ".1f"), "ergas": ("ERGAS", ".3f"), "sam": ("SAM (degrees)", ".2f"),
    "q2n": ("Q2n", ".3f"), "speed": ("s / megapixel", ".1f"),
}  # fmt: skip
OPTIONS: dict[str, dict[str, object]] = {
    "--data": {}, "--methods": {"default": [GAUSSIAN, *METHODS], "choices": [*FUSIONS, *METHODS], "metavar": "METHOD"},
    "--scenes": {"type": str, "default": "tuning", "choices": ["tuning", "test"], "help": "which of the tiles"},
    "--bundles": {"default": "", "help": "only those whose name has this in it"},
    "--large": {"action": "store_true", "help": "time each method on 1024 x 1024 panchromatic pixels too"},
}  # fmt: skip


class Sharpened(NamedTuple):
    """What a method found, ``(C, H, W)`` in image units, and the seconds that it took.

    ``std`` are standard deviations, and ``of_means`` gives those of means over blocks of a side, ``(C, H // side, W // side)``; where a
    method has them. ``posterior`` is that of a method of the package.
    """

    mean: Array
    std: Array | None
    of_means: Callable[[int], Array] | None
    seconds: float
    posterior: Posterior | None = None


def ours(method: str, bundle: Bundle, prior: str = AUTO) -> Sharpened:
    """A method of the package, in its own time: weights and shift are found from the bundle."""
    pieces = Pieces(*(v for y in (bundle.pan, bundle.ms) for v in ((FULL * y[0]).round().numpy(), np.ones(y.shape[1:], bool))))
    options, device = FuseOptions(method=method, prior=prior), torch.device("cpu")
    began = time.perf_counter()
    stack, _ = make_stack(ArrayBundle(pieces, (np.dtype(np.uint16), np.dtype(np.uint16))), bundle.profile, options, device)
    chosen, _ = choose_fusion_method(options, [stack], device)
    middle = [n / 2 for n in bundle.pan.shape[2:]]
    posterior = chosen.fuse(BundleWindow(stack.tensors(pieces), stack.model_at(*middle), [(0, 0)], 0), stack)
    mean, std = (v[0, -bundle.ms.shape[1] :].double().numpy() for v in posterior.moments())
    seconds = time.perf_counter() - began

    def of_means(block: int) -> Array:
        return np.asarray(posterior.moments(block=block).std[0, -bundle.ms.shape[1] :].double().numpy())

    return Sharpened(mean, std, of_means, seconds, posterior)


def sharpened(method: str, bundle: Bundle) -> Sharpened:
    """A method of the package or another."""
    if method not in METHODS:
        return ours(method, bundle)
    began = time.perf_counter()
    found = METHODS[method](bundle)
    return Sharpened(found, None, None, time.perf_counter() - began)


def spectral(image: Array, truth: Array, ratio: int) -> dict[str, float]:
    """ERGAS, spectral angle in degrees, and Q2n of images ``(C, H, W)``."""
    try:
        from sewar import q2n
    except ImportError:
        raise SystemExit("the benchmark fusion scores with sewar, which is not installed: pip install sewar") from None
    a, b = (torch.from_numpy(np.ascontiguousarray(x))[None] for x in (image, truth))
    return {
        "ergas": float(error_relative_global_dimensionless_synthesis(a, b, ratio)),
        "sam": float(torch.rad2deg(spectral_angle_mapper(a, b))),
        "q2n": float(q2n(truth.transpose(1, 2, 0), image.transpose(1, 2, 0))),
    }


def scored(found: Sharpened, bundle: Bundle) -> Record:
    """All figures, coverages of pixels by band."""
    image, truth = bundle.scored(found.mean), bundle.wanted()
    std = None if found.std is None else bundle.scored(found.std)
    record: Record = {"seconds": found.seconds, "speed": 1e6 * found.seconds / bundle.pan.numel()}
    record |= {name: value for name, value in figures(image, truth, std).items() if name not in _UNSEEN}
    record |= {"bands": [psnr(a, b, 1.0) for a, b in zip(image, truth, strict=True)]} | spectral(image, truth, bundle.ratio)
    if std is not None:
        for level in (0.90, 0.95):
            triples = zip(image, std, truth, strict=True)
            record[f"coverage_{100 * level:.0f}"] = [coverage(a, s, b, level) for a, s, b in triples]
    if found.of_means is not None:
        means, wide = (bundle.scored(v, BLOCK) for v in (block_mean(found.mean, BLOCK), found.of_means(BLOCK)))
        record |= {"block_4": coverage(means, wide, bundle.wanted(BLOCK), 0.95), "count_4": means.size}
    return record


def timed(method: str, bundle: Bundle) -> Record:
    """Seconds alone."""
    found = sharpened(method, bundle)
    return {"seconds": found.seconds, "speed": 1e6 * found.seconds / bundle.pan.numel()}


def large(truth: Array) -> Bundle:
    """The first case's sensor sees `SIDE` x `SIDE` pixels of a tile and its mirror images."""
    side = SIDE + 2 * MARGIN
    return simulate(np.pad(truth, ((0, 0), *((0, side - n) for n in truth.shape[1:])), mode="symmetric"), next(iter(CASES.values())), 0)


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All tiles in all cases."""
    scenes = tiles(arguments.data, arguments.scenes, 4)
    cases = {name: case for name, case in CASES.items() if arguments.bundles in name}
    for key, bundle in bundles(scenes, cases, 0):
        for method in arguments.methods:
            results.once(key | {"method": method}, lambda m, b: scored(sharpened(m, b), b), method, bundle)
    if arguments.large:
        bundle = large(next(iter(scenes.values())))
        for method in arguments.methods:
            results.once({"bundle": LARGE, "scene": LARGE, "method": method}, timed, method, bundle)


def worst(records: Records) -> str:
    """Coverage of each bundle's intervals: means over the tiles, and the tile and the band where it is least."""
    with_std = [dict(r) for r in records if "coverage_95" in r]
    for key in dict.fromkeys((r["bundle"], r["method"]) for r in with_std):
        some = where(with_std, bundle=key[0], method=key[1])
        least = min(float(np.mean(r["coverage_95"])) for r in some)
        for r in some:
            r |= {"all_95": float(np.mean(r["coverage_95"])), "least": least}
    columns = {
        "coverage_90": ("90 %, R G B NIR", ".3f"), "coverage_95": ("95 %, R G B NIR", ".3f"), "all_95": ("95 %", ".3f"),
        "least": ("95 %, least of the tiles", ".3f"),
    }  # fmt: skip
    return grouped(with_std, {"bundle": "bundle", "method": "method"}, columns | pick("block_4", "crps", "correlation"))


def over_rivals(records: Records) -> str:
    """ERGAS of each method over that of rivals on the same tile: mean and 95 % interval over the tiles, and the worst."""
    rows = []
    for bundle, method in dict.fromkeys((r["bundle"], r["method"]) for r in records):
        cells = []
        for rival in RIVALS:
            pairs = [
                (r, where(records, bundle=bundle, scene=r["scene"], method=rival)) for r in where(records, bundle=bundle, method=method)
            ]
            ratios = [r["ergas"] / other[0]["ergas"] for r, other in pairs if other]
            cells.append(f"{with_interval(ratios, '.2f')} ({max(ratios):.2f})" if ratios and method != rival else "")
        if method not in METHODS:
            rows.append([bundle, method, *cells])
    return table(["bundle", "method", *(f"over {r} (worst)" for r in RIVALS)], rows)


def tables(records: Records) -> dict[str, str]:
    """For each bundle the means over the tiles; coverage; ERGAS over that of rivals; what a large scene takes."""
    sizes, measured = where(records, bundle=LARGE), [r for r in records if r["bundle"] != LARGE]
    known = with_intervals(measured, ("bundle", "method"), "psnr")
    found = {name: grouped(where(known, bundle=name), {"method": "method"}, COLUMNS) for name in dict.fromkeys(r["bundle"] for r in known)}
    found |= {"coverage": worst(measured), "over rivals": over_rivals(measured)}
    return found | ({LARGE: grouped(sizes, {"method": "method"}, {"speed": COLUMNS["speed"]})} if sizes else {})
