"""Work that is handed out to processes or machines, which may be lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from imaging.archive.executors import shut_down
from imaging.errors import ImagingError, one_line

MakeExecutor = Callable[[], Executor]
Item = TypeVar("Item")


class Workers(Generic[Item]):
    """Who works on items; the executor is made anew when a process of it died.

    ``running`` are the items that are worked on, ``reason`` is why workers were lost.
    """

    def __init__(self, make_executor: MakeExecutor) -> None:
        self.make_executor, self.reason = make_executor, ""
        self.executor: Executor | None = make_executor()
        self.running: dict[Future[Any], Item] = {}

    def submit(self, item: Item, function: Callable[..., Any], *arguments: Any) -> None:
        """Hand out one item."""
        try:
            self.executor = self.executor or self.make_executor()
            future = self.executor.submit(function, *arguments)
        except Exception as error:  # a pool that broke meanwhile, a scheduler that is gone
            future = Future()
            future.set_exception(RuntimeError(one_line(error)) if isinstance(error, ImagingError) else error)
        self.running[future] = item

    def collect(self) -> tuple[list[tuple[Item, Any]], list[Item]]:
        """Wait for an item to be finished: those that are, with their results, and those that were lost with their workers.

        `ImagingError` where a worker met one.
        """
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        finished, lost, broken = [], [], False
        for future in [f for f in self.running if f in done]:  # in the order in which they were handed out
            item = self.running.pop(future)
            try:
                finished.append((item, future.result()))
            except ImagingError:
                raise
            except (Exception, CancelledError) as error:
                died = isinstance(error, BrokenProcessPool)
                broken |= died
                self.reason = "the process that restored it died" if died else f"{type(error).__name__}: {one_line(error)}"
                lost.append(item)
        if broken:
            lost += self.running.values()
            self.running.clear()
            self.shut_down(wait=False)
        return finished, lost

    def shut_down(self, *, wait: bool) -> None:
        """Let go of the workers."""
        if self.executor is not None:
            shut_down(self.executor, wait=wait)
        self.executor = None
