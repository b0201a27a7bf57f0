"""Many scenes: which they are, who restores them, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.archive.executors import gpu_count, local_executor, make_executors, scheduler_executor
    from imaging.archive.manifest import Entry, find_entries, shard
    from imaging.archive.request import check_archive, entries_of
    from imaging.archive.runner import ArchiveReport, restore_archive
    from imaging.archive.spread import restore_spread
else:
    _modules = {
        "imaging.archive.executors": "gpu_count local_executor make_executors scheduler_executor",
        "imaging.archive.manifest": "Entry find_entries shard",
        "imaging.archive.request": "check_archive entries_of",
        "imaging.archive.runner": "ArchiveReport restore_archive",
        "imaging.archive.spread": "restore_spread",
    }
    __getattr__, __dir__ = on_first_use(__name__, _modules)

__all__ = [
    "ArchiveReport", "Entry", "check_archive", "entries_of", "find_entries", "gpu_count", "local_executor", "make_executors",
    "restore_archive", "restore_spread", "scheduler_executor", "shard",
]  # fmt: skip
