"""All published figures by one command: what is run for each file of docs/results, and which of them are of other code than there is.

Each file has a folder of its own below the work folder, where an interrupted run goes on. Runs are processes of one thread, two of them
beside each other, the longest first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.bench.results import CODE, PUBLISHED, benchmark, git, load
from scripts.command import ROOT
from scripts.split import REAL

Start = Callable[[list[str], float | None], int]
AT_A_TIME = 2
FITS = ["amortised", "vble", "vble-xz", "tv", "foe", "crr", "wcrr"]
BUNDLES = ["gaussian", "amortised", "vble-xz", "bicubic", "Brovey", "Brovey, fitted", "GSA", "restored PAN + GSA", "MTF-GLP-CBD"]
BUNDLES += ["Pansharpen + TV", "joint TV"]
PLAN: dict[str, tuple[list[str], ...]] = {
    "problems": (["problems", "--lpips", "{work}/lpips.npz"],),
    "restoration": (["restoration", "--methods", *FITS],),
    "amortised": (["amortised", "--methods", "amortised"], ["amortised", "--methods", "vble-xz", "vble-xz from the pass"]),
    "fusion": (["fusion", "--scenes", "test", "--large", "--methods", *BUNDLES],),
    "bilevel": (["bilevel", "--problem", "tv"], ["bilevel", "--problem", "foe"]),
    "decoders": (["decoders", "--priors", "pan"],),
    "convergence": (["convergence", "--tiles", "2"],),
    "superres": (["superres", "--runs", "{work}/runs"],),
    "coverage": (["coverage"],),
    "rate": (["rate"],),
    "mismatch": (["mismatch"],),
    "amortised-bands": tuple(
        ["amortised", "--bands", n, "--kinds", "tile", "frame", "--methods", "amortised", "band by band"] for n in ("3", "4")
    ),
    "denoising": (["denoising"],),
    "calibration": (["calibration", "--scenes", "4"],),
    "priors": (["priors"], ["priors", "--prior", "rgb"], ["priors", "--prior", "rgbn", "--sets", "naip"]),
    "throughput": (["throughput"],),
    "memory": (["memory"],),
    "equivariance": (["equivariance"],),
    "tiles": (["tiles", "{data}/" + REAL, "--sensor", "pleiades"],),
    "weights": (["weights"],),
    "checks": (["checks"],),
    "startup": (["startup"],),
}
"""For each file of docs/results the runs that it is made of, as options of ``python -m scripts.bench``, the longest files first."""


def command_lines(name: str, data: Path, work: Path) -> list[list[str]]:
    """The runs of a file; the last one publishes it."""
    lines = []
    for run in PLAN[name]:
        given = [o.format(work=work, data=data) for o in run]
        given += ["--data", str(data)] if "--data" in benchmark(given[0]).OPTIONS else []
        lines.append([*given, "--work", str(work / name)])
    lines[-1] += ["--publish", name]
    return lines


def missing(name: str, work: Path) -> list[str]:
    """What a file's runs take from the work folder that is not there: trained networks, weights of other packages."""
    return [o for run in PLAN[name] for o in run if "{work}" in o and not Path(o.format(work=work)).exists()]


def process(given: list[str], seconds: float | None) -> int:
    """One run in a process of one thread; its exit status, or -1 where its time is over."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    log = Path(given[given.index("--work") + 1]).with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        try:
            return subprocess.run(
                [sys.executable, "-m", "scripts.bench", *given], cwd=ROOT, env=os.environ | threads, stdout=handle, stderr=handle,
                timeout=seconds, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1


def run_all(data: Path, work: Path, names: Sequence[str], minutes: float | None = None, start: Start = process) -> list[str]:
    """Run what is asked for, until the time is over; the names of the files that are not done."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    lacking = {name: missing(name, work) for name in names}
    for name, what in lacking.items():
        if what:
            print(f"{name}: left out, {', '.join(what)} is not there", flush=True)

    def done(name: str) -> bool:
        for given in command_lines(name, data, work):
            left = None if end is None else end - time.monotonic()
            status = -1 if left is not None and left <= 0 else start(given, left)
            if status:
                print(f"{name}: {'to be continued' if status < 0 else f'failed, see {name}.log in the work folder'}", flush=True)
                return False
        print(f"{name}: done", flush=True)
        return True

    some = [name for name in names if not lacking[name]]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        finished = dict(zip(some, pool.map(done, some), strict=True))
    return [name for name in names if not finished.get(name, False)]


def states() -> Iterator[tuple[str, str, str, str]]:
    """Of each published file its name, its date, its commits, and why it is to be printed again; empty where it is of this code."""
    for path in sorted(PUBLISHED.glob("*.json")):
        head, _ = load(path)
        commits = [commit for commit, _ in head.get("commits", [])]
        yield path.stem, head.get("date", ""), " ".join(c or "none" for c in commits) or "none", _stale(commits)


def _stale(commits: Sequence[str]) -> str:
    if not commits or "" in commits:
        return "of no known commit"
    if any(c.endswith("+") for c in commits):
        return "of uncommitted code"
    changes = [git("diff", "--name-only", c, "HEAD", "--", *CODE, ":(exclude)scripts") for c in commits]
    if None in changes:
        return "of a commit that is not here"
    folders = [p.split("/") for p in sorted({p for found in changes if found for p in found.splitlines()})]
    models = dict.fromkeys(p[1] for p in folders if p[0] == "models")
    return ", ".join(["imaging"] * any(p[0] == "imaging" for p in folders) + list(models)) + (" changed since" if folders else "")
