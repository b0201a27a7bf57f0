"""Megapixels per second against batch size, where the time goes, and what a full Pleiades scene would take.

    python scripts/benchmark_throughput.py [--side 1024] [--batches 1 2 4] [--device auto] [--repeats 3] [--output table.md]

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
from benchmark_memory import write_scene

from imaging.raster import TilePlan
from imaging.restoration import RestoreOptions, ScenePaths, SceneResult, open_restoration, run_scene
from imaging.restoration.method import torch_device
from imaging.restoration.pipeline import batches

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


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=Path, default=Path(__file__).parents[1] / "data" / "pleiades_like_pan.tif")
    parser.add_argument("--sensor", default="pleiades-raw")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--method", default=RestoreOptions().method)
    parser.add_argument("--tile", type=int, help="by default as of the command")
    parser.add_argument("--iterations", type=int, help="of a fit")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="table")
    a = parser.parse_args()
    device = torch_device(a.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    lines = [
        f"Measured on: {name}; {a.side} x {a.side} pixels, method {a.method}.",
        "",
        "| batch | Mpixel/s | of them bare | lost by the pipeline | fitting | reading | writing | waiting | memory, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    best = 0.0
    with tempfile.TemporaryDirectory() as folder:
        paths = ScenePaths(input=Path(folder) / "scene.tif", overwrite=True)
        write_scene(paths.input, a.sample, a.side)
        megapixels = a.side**2 / 1e6
        plan: TilePlan | None = None
        for batch in a.batches:
            options = RestoreOptions(batch=batch, device=a.device, tile=a.tile, iterations=a.iterations, method=a.method)
            job = open_restoration(paths, a.sensor, options)
            plan = job.plan
            job.scene.source.close()
            runs = [(whole(paths, a.sensor, options), bare(paths, a.sensor, options)) for _ in range(a.repeats)]
            seconds, fitted = statistics.median(w for (w, _), _ in runs), statistics.median(b for _, b in runs)
            (_, result), _ = min(runs, key=lambda r: abs(r[0][0] - seconds))
            shares = " | ".join(f"{result.stages[k] / result.seconds:.1%}" for k in ("fitting", "reading", "writing", "waiting"))
            best = max(best, megapixels / seconds)
            lines.append(
                f"| {batch} | {megapixels / seconds:.4f} | {megapixels / fitted:.4f} | {1 - fitted / seconds:.1%} | {shares} "
                f"| {result.peak_memory_mb:.0f} |"
            )
            print(lines[-1], flush=True)
    if plan is None:
        raise SystemExit("no batch size is given")
    lines += ["", *_extrapolated(plan, best, megapixels)]
    table = "\n".join(lines)
    print(table)
    if a.output:
        a.output.write_text(table + "\n", encoding="utf-8")


def _extrapolated(plan: TilePlan, speed: float, megapixels: float) -> list[str]:
    """What a full scene would take at the best measured speed; windows overlap less in a large scene."""
    small = sum(t.window.height * t.window.width for t in plan.tiles())
    full = TilePlan(*PLEIADES, plan.side, plan.margin, plan.room, plan.halo, plan.step).tiles()
    large = sum(t.window.height * t.window.width for t in full)
    seconds = megapixels / speed * large / small
    return [
        "| Pleiades scene, 40 000 x 30 000 | |",
        "|---|---|",
        f"| measured: seconds of window pixels, per megapixel | {megapixels / speed / small * 1e6:.2f} |",
        f"| computed: windows | {len(full)} of {full[0].window.height} x {full[0].window.width} |",
        f"| computed: hours on this device | {seconds / 3600:.1f} |",
        f"| computed: hours on 8 of them | {seconds / 3600 / 8:.1f} |",
    ]


if __name__ == "__main__":
    main()
