"""Memory and time of whole restorations against the size of the scene, from a scene written piece by piece to published outputs.

    python -m scripts.bench memory --work FOLDER [--sides 2048 4096 20000] [-- OPTION ...]

Each scene repeats a sample, is stored as uint16 in a tiled GeoTIFF, and is restored by the command in a process of its own, whose largest
resident memory is read when it ends. Options after ``--`` are handed to the command; by default a cheap setting that fits one iteration.
An interrupted run is resumed, and a finished one not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from scripts.bench.results import Results
from scripts.bench.tables import Record, one_table

CHEAP = ["--iterations", "1", "--method", "map", "--prior", "vae-small", "--tile", "1024", "--halo", "32"]
OPTIONS = {
    "--sample": {}, "--sensor": {}, "--work": {"required": True},
    "--sides": {"type": int, "nargs": "+", "default": [2048, 4096, 20000]},
    "options": {"nargs": "*", "help": "after --"},
}  # fmt: skip
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


def measured(scene: Path, arguments: argparse.Namespace, side: int, options: list[str]) -> Record:
    """Seconds and largest resident memory, MB, of the command on a scene, and the shares of its stages."""
    if not scene.exists():
        write_scene(scene, arguments.sample, side)
    command = [sys.executable, "-m", "imaging", "--input", str(scene), "--sensor", arguments.sensor, "--json", "-q", "--resume", *options]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    seconds, result = time.monotonic() - began, json.loads(done.stdout)
    for path in (*scene.parent.glob(f"{scene.stem}_*.tif"), scene):
        path.unlink()
    return {"seconds": seconds, "memory": result["peak_memory_mb"]} | {k: v / seconds for k, v in result["stages"].items()}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """Write, restore."""
    options = arguments.options or CHEAP
    for side in arguments.sides:
        key = {"scene": f"{side} x {side}", "options": f"`{' '.join(options)}`"}
        results.once(key, measured, arguments.work / f"scene{side}.tif", arguments, side, options)


COLUMNS = {"memory": ("memory, MB", ".0f"), "seconds": ("seconds", ".0f")} | {k: (k, ".0%") for k in ("fitting", "reading", "writing")}
tables = one_table({"scene": "scene", "options": "options"}, COLUMNS)
