"""Run by a test in a process of its own: kills restorations, resumes them, and compares what they leave.

Each run is a fork of this process, which has imported everything and computed nothing, so that it starts at once.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from imaging.restoration import RestoreOptions, plan_scene
from tests.scenes import fit, listing

torch.set_num_threads(1)


def _forked(work: Callable[[], object]) -> int:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def _restore(scene: Path, prior: Path) -> None:
    fit(scene, prior, resume=True, tile=96, method="map")


def _dies_after(scene: Path, prior: Path, changes: int) -> None:
    """Restore, but die instead of the next change of the disk after so many."""
    left = changes
    for name in ("replace", "unlink", "mkdir"):
        original = getattr(Path, name)

        def counted(self: Path, *arguments: object, original: Callable[..., object] = original, **given: object) -> object:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return original(self, *arguments, **given)

        setattr(Path, name, counted)
    _restore(scene, prior)


def _outputs(scene: Path) -> dict[str, bytes | None]:
    return {k: v for k, v in listing(scene.parent).items() if k != scene.name}


def _clear(scene: Path) -> None:
    for name in _outputs(scene):
        (scene.parent / name).unlink()


def _resumed(scene: Path, prior: Path, whole: dict[str, bytes | None], what: str) -> None:
    _, status = os.waitpid(_forked(lambda: _restore(scene, prior)), 0)
    found = _outputs(scene)
    if status != 0 or found != whole:
        sys.exit(f"{what}: resumed with status {status}, left {sorted(found)}, same bytes: {found == whole}")


def main(scene: Path, prior: Path, kills: int) -> None:
    """Kill at random moments, then after each change of the disk; prints how many kills met a run."""
    plan_scene(scene, "pleiades-raw", options=RestoreOptions(prior=str(prior)))  # imports what is imported late
    torch.optim.Adam([torch.zeros(1)])
    began = time.monotonic()
    os.waitpid(_forked(lambda: _restore(scene, prior)), 0)
    duration, whole, rng, met = time.monotonic() - began, _outputs(scene), random.Random(0), 0
    _clear(scene)
    for k in range(kills):
        process = _forked(lambda: _restore(scene, prior))
        time.sleep(rng.uniform(0, duration))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        met += os.WIFSIGNALED(status)
        if status != 0 and _outputs(scene) != whole:  # killed after its last output, a run has nothing left to resume
            _resumed(scene, prior, whole, f"kill {k}")
        _clear(scene)
    for changes in itertools.count():
        _, status = os.waitpid(_forked(partial(_dies_after, scene, prior, changes)), 0)
        if status == 0:
            break
        _resumed(scene, prior, whole, f"dead after {changes} changes")
        _clear(scene)
    print(met, changes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
