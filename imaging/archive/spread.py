"""One very large scene, its tiles fitted by several processes or machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from imaging.archive.manifest import anywhere
from imaging.archive.workers import MakeExecutor, Workers
from imaging.restoration import Options, ScenePaths, SceneResult, Sensor, run_scene, run_tiles

_SHARES, _LONGEST = 4, 32
"""Blocks of tiles for each worker, at least, and tiles of one: more blocks even out the load, but each has to load the prior anew."""
_ROUNDS = 2

Block = tuple[int, int]


def blocks_of(count: int, workers: int) -> list[Block]:
    """Runs ``(first, last)`` of consecutive tiles, up to ``last - 1``, a few for each worker."""
    number = min(count, max(_SHARES * workers, -(-count // _LONGEST)))
    cuts = [round(k * count / number) for k in range(number + 1)]
    return list(pairwise(cuts))


def restore_spread(
    paths: ScenePaths, sensor: Sensor, options: Options, *, make_executor: MakeExecutor, workers: int,
    progress: Callable[[int, int], None] | None = None, reference: Path | None = None,
    afterwards: Callable[[Any, SceneResult], None] | None = None,
) -> SceneResult:  # fmt: skip
    """Restore one scene with many workers, each reading and writing its own windows; same bytes as by one.

    Input and outputs have to lie where all workers see them under the same names. ``make_executor`` is called again when workers were lost:
    blocks of tiles whose worker is lost are handed out once more; what is not finished then, as when a scheduler goes away, is fitted in
    this process. ``progress`` counts tiles; the rest is as for `run_scene`, errors that a worker meets among it.
    """
    parts = {k: v.absolute() for k in ("input", "pan", "output", "std", "save_samples") if (v := getattr(paths, k)) is not None}
    paths = replace(paths, **parts)  # the same in any process
    sensor = anywhere(sensor) if isinstance(sensor, str) else sensor

    def elsewhere(count: int) -> list[str]:
        return _Spread(make_executor, (paths, sensor, options), count, progress).run(blocks_of(count, workers))

    return run_scene(paths, sensor, options, reference=reference, elsewhere=elsewhere, afterwards=afterwards)


class _Spread:
    def __init__(
        self, make_executor: MakeExecutor, arguments: tuple[ScenePaths, Sensor, Options], count: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:  # fmt: skip
        self.workers, self.arguments, self.count, self.progress, self.done = Workers[Block](make_executor), arguments, count, progress, 0

    def run(self, blocks: list[Block]) -> list[str]:
        """Have all blocks fitted; what went wrong."""
        notes: list[str] = []
        for _ in range(_ROUNDS):
            blocks = self._lost_of(blocks)
            if not blocks:
                return notes
            notes = [f"workers were lost ({self.workers.reason}); their tiles were fitted again"]
        return notes

    def _lost_of(self, blocks: list[Block]) -> list[Block]:
        """Hand all blocks out once; those whose worker was lost."""
        lost: list[Block] = []
        try:
            for block in blocks:
                self.workers.submit(block, run_tiles, *self.arguments, *block)
            while self.workers.running:
                finished, gone = self.workers.collect()
                lost += gone
                for block, _ in finished:
                    self.done += block[1] - block[0]
                    if self.progress is not None:
                        self.progress(self.done, self.count)
        finally:
            self.workers.shut_down(wait=True)
        return lost
