"""One very large scene, its tiles fitted by several processes or machines."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from imaging.archive.executors import shut_down
from imaging.archive.runner import MakeExecutor, anywhere
from imaging.errors import ImagingError, one_line
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

    Input and outputs have to lie where all workers see them under the same names. Blocks of tiles whose worker is lost are handed out once
    more; what is not finished then, as when a scheduler goes away, is fitted in this process.

    Parameters
    ----------
    paths, sensor, options
        As for `run_scene`.
    make_executor : callable
        Makes a `concurrent.futures.Executor`; called again when workers were lost.
    workers : int
        How many there are.
    progress : callable, optional
        Called with (finished, total) tiles.
    reference, afterwards : optional
        As for `run_scene`.

    Raises
    ------
    ImagingError
        As by `run_scene`, also for what a worker meets.
    """
    parts = {k: v.absolute() for k in ("input", "output", "std", "save_samples") if (v := getattr(paths, k)) is not None}
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
        self.make_executor, self.arguments, self.count, self.progress = make_executor, arguments, count, progress
        self.done, self.reason = 0, ""

    def run(self, blocks: list[Block]) -> list[str]:
        """Have all blocks fitted; what went wrong."""
        notes: list[str] = []
        for _ in range(_ROUNDS):
            left = self._round(blocks)
            if not left:
                return notes
            notes = [f"workers were lost ({self.reason}); their tiles were fitted again"]
            blocks = left
        return notes

    def _round(self, blocks: list[Block]) -> list[Block]:
        """Hand all blocks out once; those whose worker was lost."""
        lost: list[Block] = []
        try:
            executor = self.make_executor()
        except ImagingError as error:
            self.reason = one_line(error)
            return blocks
        try:
            running: dict[Future[int], Block] = {executor.submit(run_tiles, *self.arguments, *b): b for b in blocks}
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    block = running.pop(future)
                    try:
                        future.result()
                    except ImagingError:
                        raise
                    except (Exception, CancelledError) as error:
                        self.reason = f"{type(error).__name__}: {one_line(error)}"
                        lost.append(block)
                    else:
                        self._finished(block)
        except ImagingError:
            raise
        except Exception as error:  # a pool that broke, a scheduler that is gone
            self.reason = f"{type(error).__name__}: {one_line(error)}"
            return blocks
        finally:
            shut_down(executor, wait=True)
        return lost

    def _finished(self, block: Block) -> None:
        self.done += block[1] - block[0]
        if self.progress is not None:
            self.progress(self.done, self.count)
