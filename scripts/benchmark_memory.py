"""Memory and time of whole restorations against the size of the scene, from a scene written piece by piece to published outputs.

    python scripts/benchmark_memory.py --work FOLDER [--sides 2048 4096 20000] [--output table.md] [-- OPTION ...]

Each scene repeats a sample, is stored as uint16 in a tiled GeoTIFF, and is restored by the command in a process of its own, whose largest
resident memory is read when it ends. Options after ``--`` are handed to the command; by default a cheap setting that fits one iteration.
An interrupted run is resumed, and a finished one not repeated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

CHEAP = ["--iterations", "1", "--method", "map", "--prior", "vae-small", "--tile", "1024", "--halo", "32"]
_PIECE = 1024


def write_scene(path: Path, sample: Path, side: int) -> None:
    """A scene of ``side`` by ``side`` pixels that repeats a sample."""
    with rasterio.open(sample) as source:
        values = source.read(1)
        profile = {k: source.profile[k] for k in ("crs", "transform")}
    repeats = -(-_PIECE // min(values.shape)) + 1
    piece = np.tile(values, (repeats, repeats))[:_PIECE, :_PIECE].astype(np.uint16)
    settings = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint16", "tiled": True, "BIGTIFF": "IF_SAFER"}
    temporary = path.with_suffix(".writing")
    with rasterio.open(temporary, "w", **settings | profile | {"blockxsize": 512, "blockysize": 512, "compress": "deflate"}) as target:
        for row in range(0, side, _PIECE):
            for column in range(0, side, _PIECE):
                height, width = min(_PIECE, side - row), min(_PIECE, side - column)
                target.write(piece[:height, :width], 1, window=Window(column, row, width, height))
    temporary.rename(path)


def measure(scene: Path, options: list[str]) -> dict[str, float]:
    """Seconds and largest resident memory, MB, of the command on a scene."""
    command = [sys.executable, "-m", "imaging", "--input", str(scene), "--sensor", "pleiades-raw", "--json", "-q", "--resume", *options]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result = json.loads(done.stdout)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    stages = result["stages"]
    return {"seconds": time.monotonic() - began, "memory": result["peak_memory_mb"], "children": children, **stages}


def main() -> None:
    """Write, restore, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes, outputs and results")
    parser.add_argument("--sample", type=Path, default=Path(__file__).parents[1] / "data" / "pleiades_like_pan.tif")
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 4096, 20000])
    parser.add_argument("--output", type=Path, help="table")
    parser.add_argument("options", nargs="*", help="after --")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    kept = a.work / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for side in a.sides:
        key = f"{side} {' '.join(a.options or CHEAP)}"
        if key not in results:
            scene = a.work / f"scene{side}.tif"
            if not scene.exists():
                write_scene(scene, a.sample, side)
            results[key] = measure(scene, a.options or CHEAP)
            kept.write_text(json.dumps(results, indent=1))
            for path in (*a.work.glob(f"scene{side}_*.tif"), scene):
                path.unlink()
    lines = ["| scene | options | memory, MB | seconds | fitting | reading | writing |", "|---|---|---|---|---|---|---|"]
    for key, r in results.items():
        side, _, options = key.partition(" ")
        shares = " | ".join(f"{r[k] / r['seconds']:.0%}" for k in ("fitting", "reading", "writing"))
        lines.append(f"| {side} x {side} | `{options}` | {r['memory']:.0f} | {r['seconds']:.0f} | {shares} |")
    table = "\n".join(lines)
    print(table)
    if a.output:
        a.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
