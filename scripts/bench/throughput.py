"""Megapixels per second against batch size, where the time goes, and what a full Pleiades scene would take.

    python -m scripts.bench throughput [--side 1024] [--batches 1 2 4] [--device auto] [--repeats 3]

The scene repeats a sample. Two things are timed in turn, and the median of the repeats taken: the whole restoration of the file, from
opening it to published outputs, and the bare fit of the same tiles, read before and not written. What the pipeline loses is the
difference, as a share of the whole. Times of a scene of 40 000 x 30 000 pixels are computed from the time of one window.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from imaging.raster import TilePlan
from imaging.restoration import RestoreOptions, ScenePaths, SceneResult, open_restoration, run_scene
from imaging.restoration.method import torch_device
from imaging.restoration.pipeline import batches
from scripts.bench.memory import write_scene
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, grouped, table
from scripts.command import machine

OPTIONS = {
    "--sample": {}, "--sensor": {}, "--iterations": {},
    "--side": {"type": int, "default": 1024},
    "--batches": {"type": int, "nargs": "+", "default": [1, 2, 4]},
    "--method": {"default": RestoreOptions().method},
    "--tile": {"type": int, "help": "by default as of the command"},
    "--device": {"default": "auto"},
    "--repeats": {"type": int, "default": 3},
}  # fmt: skip
STAGES = ("fitting", "reading", "writing", "waiting")
PLEIADES = (30_000, 40_000)
"""Rows and columns of a panchromatic scene."""


def bare(paths: ScenePaths, sensor: str, options: RestoreOptions) -> float:
    """Seconds of fitting all tiles of a scene that lie in memory."""
    job = open_restoration(paths, sensor, options)
    with job.scene:
        loaded = [job.read(b) for b in batches(job.tiles, job.batch)]
        began = time.monotonic()
        for batch in loaded:
            job.work(batch, lambda _: None)
        return time.monotonic() - began


def whole(paths: ScenePaths, sensor: str, options: RestoreOptions) -> tuple[float, SceneResult]:
    """Seconds of a restoration, and its result."""
    began = time.monotonic()
    result = run_scene(paths, sensor, options)
    return time.monotonic() - began, result


def measured(paths: ScenePaths, a: argparse.Namespace, options: RestoreOptions) -> Record:
    """Speeds, shares of the stages, and what a full scene would take at this speed; windows overlap less in a large scene."""
    job = open_restoration(paths, a.sensor, options)
    job.scene.source.close()
    plan, megapixels = job.plan, a.side**2 / 1e6
    runs = [(whole(paths, a.sensor, options), bare(paths, a.sensor, options)) for _ in range(a.repeats)]
    seconds, fitted = statistics.median(w for (w, _), _ in runs), statistics.median(b for _, b in runs)
    (_, result), _ = min(runs, key=lambda r: abs(r[0][0] - seconds))
    full = TilePlan(*PLEIADES, plan.side, plan.margin, plan.room, plan.halo, plan.step).tiles()
    small, large = (sum(t.window.height * t.window.width for t in some) for some in (plan.tiles(), full))
    return {
        "speed": megapixels / seconds, "bare": megapixels / fitted, "lost": 1 - fitted / seconds,
        **{k: result.stages[k] / result.seconds for k in STAGES}, "memory": result.peak_memory_mb, "pace": seconds / small * 1e6,
        "windows": f"{len(full)} of {full[0].window.height} x {full[0].window.width}", "hours": seconds * large / small / 3600,
    }  # fmt: skip


def run(a: argparse.Namespace, results: Results) -> None:
    """All batch sizes."""
    device = torch_device(a.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{machine()}, {torch.get_num_threads()} threads"
    with tempfile.TemporaryDirectory() as folder:
        paths = ScenePaths(input=Path(folder) / "scene.tif", overwrite=True)
        write_scene(paths.input, a.sample, a.side)
        for batch in a.batches:
            options = RestoreOptions(batch=batch, device=a.device, tile=a.tile, iterations=a.iterations, method=a.method)
            key = {"device": name, "method": a.method, "side": a.side, "iterations": a.iterations, "batch": batch}
            results.once({k: v for k, v in key.items() if v is not None}, measured, paths, a, options)


def tables(records: Records) -> dict[str, str]:
    """By device and batch, and of a full scene at the best speed of each device and method."""
    columns = {"speed": ("Mpixel/s", ".4f"), "bare": ("of them bare", ".4f"), "lost": ("lost by the pipeline", ".1%")}
    columns |= {k: (k, ".1%") for k in STAGES} | {"memory": ("memory, MB", ".0f")}
    runs = [r | {"what": r["method"] + (f", --iterations {r['iterations']}" if "iterations" in r else "")} for r in records]
    by = {"device": "device", "what": "method", "batch": "batch"}
    best: dict[tuple[str, str], Record] = {}
    for r in runs:
        key = (r["device"], r["what"])
        best[key] = max(best.get(key, r), r, key=lambda r: float(r["speed"]))
    rows = [
        [*key, f"{r['pace']:.2f}", r["windows"], f"{r['hours']:.1f}", f"{r['hours'] / 8:.1f}"] for key, r in best.items()
    ]  # fmt: skip
    header = ["device", "method", "measured: seconds of window pixels, per megapixel", "computed: windows", "hours", "hours on 8 devices"]
    return {"all": grouped(runs, by, columns), "Pleiades scene of 40 000 x 30 000": table(header, rows)}
