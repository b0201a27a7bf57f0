"""Progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Bar:
    """Progress on standard error with the time left, where that is a terminal; it appears with the first iteration."""

    def __init__(self, what: str = "restoring", unit: str = "it") -> None:
        self.bar: Any = None
        self.what, self.unit = what, unit

    def __call__(self, done: int, total: int) -> None:
        """Show that so much is done."""
        if self.bar is None:
            from tqdm import tqdm

            look: dict[str, Any] = {"unit": self.unit, "desc": self.what, "leave": False, "dynamic_ncols": True, "disable": None}
            self.bar = tqdm(total=total, initial=done, file=sys.stderr, **look)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


@contextmanager
def progress_bar(quiet: bool, what: str = "restoring", unit: str = "it") -> Iterator[Bar | None]:
    """A bar while something is done; none where all is to be quiet."""
    bar = None if quiet else Bar(what, unit)
    try:
        yield bar
    finally:
        if bar is not None:
            bar.close()
