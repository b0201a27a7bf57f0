r"""
# 8. An archive on a cluster

One command restores a folder of scenes. It can be shared among processes, among the tasks of a job array, or among the workers of a Dask
cluster, and it can be interrupted. Here the archive is four crops of the sample, one of them damaged, and the cluster runs on this machine.
The commands are the same for ten thousand scenes.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

ROOT = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "pleiades_like_pan.tif").exists())
work = tempfile.TemporaryDirectory()
FOLDER = Path(work.name)
os.environ["OMP_WAIT_POLICY"] = "passive"  # several processes on few processors: threads that wait leave them to others


def run(arguments: str) -> int:
    """`imaging-restore` with these arguments, in the work folder; its exit code."""
    print(f"$ imaging-restore {arguments}")
    done = subprocess.run([sys.executable, "-m", "imaging", *arguments.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).replace(f"{FOLDER.resolve()}/", "").replace(f"{FOLDER}/", "").splitlines()
    print(*(line for line in lines if "Warning" not in line and not line.startswith("  warn")), f"exit code {done.returncode}\n", sep="\n")
    return done.returncode


# %%
# ## The archive

archive = FOLDER / "archive"
with rasterio.open(ROOT / "data" / "pleiades_like_pan.tif") as source:
    for k, (row, column) in enumerate([(0, 0), (200, 200), (300, 100)]):
        window = Window(column, row, 96, 96)
        path = archive / f"orbit{k % 2 + 1}" / f"scene{k + 1}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = source.profile | {"width": 96, "height": 96, "transform": source.window_transform(window), "tiled": False}
        for key in ("blockxsize", "blockysize"):
            profile.pop(key)
        with rasterio.open(path, "w", **profile) as target:
            target.write(source.read(window=window))
(archive / "orbit2" / "scene4.tif").write_bytes((archive / "orbit1" / "scene1.tif").read_bytes()[:5000])

# %%
# `--dry-run` shows what would be done. The output folder mirrors the archive.

run("--input archive --output restored --sensor pleiades-raw --dry-run")

# %%
# ## Processes, and a scene that fails
#
# `--workers 2` restores two scenes at a time. The damaged one is reported and does not stop the others; the exit code is then 3. Each scene
# leaves a line in `archive.jsonl`.

run("--input archive --output restored --sensor pleiades-raw --workers 2")
for line in (FOLDER / "restored" / "archive.jsonl").read_text(encoding="utf-8").splitlines():
    record = json.loads(line)
    what = record["error"].replace(f"{FOLDER}/", "") if record["status"] == "failed" else f"{record['result']['seconds']:.1f} s"
    print(Path(record["input"]).name, record["status"], what)

# %%
# The damaged scene is fetched again, and the same command restores what is missing:

(archive / "orbit2" / "scene4.tif").write_bytes((archive / "orbit1" / "scene1.tif").read_bytes())
run("--input archive --output restored --sensor pleiades-raw --workers 2")

# %%
# ## A job array
#
# `--shard i/n` takes every n-th scene from the i-th on: each task of an array runs the same command with its own i. The script for SLURM in
# `scripts/examples/restore_archive.slurm`:

print((ROOT / "scripts" / "examples" / "restore_archive.slurm").read_text(encoding="utf-8"))

# %%
# Where there is no SLURM, its variables can be set by hand. Two tasks into one output folder, here one after the other as they share the
# processors:

environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "SLURM_ARRAY_TASK_COUNT": "2"}
for index in (1, 2):
    command = ["bash", str(ROOT / "scripts" / "examples" / "restore_archive.slurm"), "archive", "by-array", "pleiades-raw"]
    settings = environment | {"SLURM_ARRAY_TASK_ID": str(index)}
    task = subprocess.run(command, cwd=FOLDER, env=settings, capture_output=True, text=True, check=False)
    print(f"task {index}: {task.stdout.strip()}")
print(*sorted(p.relative_to(FOLDER).as_posix() for p in (FOLDER / "by-array").rglob("*_restored.tif")), sep="\n")

# %%
# ## A Dask cluster
#
# `--scheduler ADDRESS` hands the scenes to the workers of a running cluster. Here it has two workers on this machine, started as on any
# machine: `dask scheduler`, and `dask worker ADDRESS --nthreads 1` for each.

dask = [sys.executable, "-m", "dask"]
address_file = FOLDER / "scheduler.json"
one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": FOLDER, "env": one_thread}
settings = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address_file)]
scheduler = subprocess.Popen([*dask, "scheduler", *settings], **quiet)
while not address_file.exists():
    time.sleep(0.2)
time.sleep(0.5)
address = json.loads(address_file.read_text(encoding="utf-8"))["address"]
worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(FOLDER / "dask")]
workers = [subprocess.Popen(worker, **quiet) for _ in range(2)]
run(f"--input archive --output by-dask --sensor pleiades-raw --scheduler {address}")
for process in (*workers, scheduler):
    process.terminate()
    process.wait()

# %%
# Three ways, one result? The same machine with as many threads gives the same bytes; sums over another number of threads are rounded
# otherwise.


def values(path: Path) -> np.ndarray:
    """The band of a raster."""
    with rasterio.open(path) as source:
        return source.read(1).astype(float)


for path in sorted((FOLDER / "restored").rglob("*.tif")):
    place = path.relative_to(FOLDER / "restored")
    for folder in ("by-array", "by-dask"):
        other = FOLDER / folder / place
        largest = np.abs(values(other) - values(path)).max()
        same = other.read_bytes() == path.read_bytes()
        print(f"{folder}/{place.as_posix()}", "same bytes" if same else f"differs by at most {largest:.3f} DN")


# %%
# ## Interrupted
#
# Finished tiles lie in a hidden folder beside the output. A run is killed once two of its four tiles are there; the same command with
# `--resume` goes on. The result is that of a run that was not interrupted.

with rasterio.open(ROOT / "data" / "pleiades_like_pan.tif") as source:
    profile = source.profile | {"width": 192, "height": 192, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(FOLDER / "large.tif", "w", **profile) as target:
        target.write(source.read(window=Window(64, 64, 192, 192)))
settings = "--sensor pleiades-raw --tile 96 --halo 32 --quiet"
command = [sys.executable, "-m", "imaging", "--input", "large.tif", "--output", "resumed.tif", *settings.split()]
process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished() -> int:
    """Tiles in the hidden folder."""
    return sum(p.is_file() and p.suffix == ".npz" for p in FOLDER.glob(".resumed*/**/*"))


while process.poll() is None and finished() < 2:
    time.sleep(0.05)
process.send_signal(signal.SIGKILL)
process.wait()
print(f"killed with {finished()} tiles of 4 finished; outputs there: {[p.name for p in FOLDER.glob('resumed*.tif')]}")

# %%
run(f"--input large.tif --output resumed.tif --resume {settings}")
run(f"--input large.tif --output whole.tif {settings}")
for name in ("resumed.tif", "resumed_std.tif"):
    same = (FOLDER / name).read_bytes() == (FOLDER / name.replace("resumed", "whole")).read_bytes()
    print(name, "is the same to the byte" if same else "DIFFERS")

# %%
# More, also on GPUs, PBS and dask-jobqueue: [Archives](../../archives.md).

work.cleanup()
