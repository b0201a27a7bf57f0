"""Processes that train one model together, each with batches of its own (synchronous data parallelism)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn


def place() -> tuple[int, int]:
    """Number of this process, and how many train together; (0, 1) for a process by itself."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace all gradients by their means over the processes."""
    count = place()[1]
    if count == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    for gradient, mean in zip(gradients, (flat / count).split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.reshape(gradient.shape))


def of_the_first(value: float) -> float:
    """The first process's value, in each of them."""
    if place()[1] == 1:
        return value
    held = torch.tensor(value, dtype=torch.float64)
    distributed.broadcast(held, 0)
    return float(held)


def _one_of(number: int, work: Callable[..., None], arguments: tuple[Any, ...], count: int, meeting: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=count)
    try:
        work(*arguments)
    finally:
        distributed.destroy_process_group()


def run_together(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(*arguments)`` in ``count`` processes of this machine that know of each other, or here if it is one.

    ``work`` is a module's function: like its arguments it is sent to new processes.
    """
    if count == 1:
        work(*arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(  # type: ignore[attr-defined,no-untyped-call]
            _one_of, (work, arguments, count, str(Path(folder) / "meeting")), nprocs=count
        )
