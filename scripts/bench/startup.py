"""Seconds before anything happens: what is answered at once, and what is loaded before the first pixel of a scene is worked on.

    python -m scripts.bench startup [--repeats 5]

Each line is run in a process of its own on one thread; the least of the repeats is kept. The sample scene is restored up to where its first
window would be, all libraries and models loaded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from scripts.bench.results import Results
from scripts.bench.tables import Record, one_table
from scripts.command import ROOT, SAMPLE

OPTIONS: dict[str, dict[str, object]] = {"--repeats": {"type": int, "default": 5}}
LINES = {
    "--help": "--help",
    "--list-sensors": "--list-sensors",
    "--list-priors": "--list-priors",
    "a sensor's name mistyped": f"--input {SAMPLE} --sensor plaides",
    "a scene that is not there": "--input missing.tif --sensor pleiades",
    "first window, pass": f"--input {SAMPLE} --sensor pleiades-raw --method amortised",
    "first window, vble-xz": f"--input {SAMPLE} --sensor pleiades-raw --method vble-xz",
    "first window, wcrr": f"--input {SAMPLE} --sensor pleiades-raw --method wcrr",
}
UNTIL_WORK = """
import os
from imaging.cli import extras

def after(values):
    from imaging.restoration import Restoration
    Restoration.work = lambda *_: os._exit(0)

extras.after_scene = after
from imaging.cli.restore import main
main()
"""
"""The command, which ends where its first window would be worked on."""


def measure(line: str, repeats: int) -> Record:
    """Least seconds, by the clock and of the processor."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            before, began = os.times(), time.perf_counter()
            arguments = [*line.split(), *(["--output", "restored.tif"] if "--method" in line else [])]
            command = [sys.executable, "-c", UNTIL_WORK, *arguments]
            done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True)
            if done.returncode != (2 if "--input" in line and "--method" not in line else 0):
                raise SystemExit(f"{line} ended otherwise than it should: {done.stderr.decode()}")
            after = os.times()
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            found.append((time.perf_counter() - began, spent))
    return {"seconds": min(s for s, _ in found), "cpu": min(c for _, c in found)}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All lines."""
    for name, line in LINES.items():
        results.once({"line": name}, measure, line, arguments.repeats)


tables = one_table({"line": "imaging-restore"}, {"seconds": ("seconds", ".2f"), "cpu": ("of the processor", ".2f")})
