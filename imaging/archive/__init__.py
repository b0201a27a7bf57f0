"""Many scenes: which they are, who restores them, and what became of each."""

from __future__ import annotations

from imaging.archive.manifest import Entry, find_entries, shard
from imaging.archive.runner import ArchiveReport, local_executor, restore_archive, scheduler_executor

__all__ = ["ArchiveReport", "Entry", "find_entries", "local_executor", "restore_archive", "scheduler_executor", "shard"]
