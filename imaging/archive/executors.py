"""Who restores: processes of this machine, one for each GPU, or the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from typing import Any

from imaging.errors import InputError, one_line


def _initialise(threads: int, devices: Any) -> None:
    """Give a worker process its share of the processors, and a GPU of its own where there are several."""
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(devices.get())
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def gpu_count() -> int:
    """GPUs of this machine."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _gpu_names(count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs that this process sees, which a scheduler may have chosen."""
    given = [n.strip() for n in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if n.strip()]
    return given[:count] if len(given) >= count else [str(k) for k in range(count)]


def local_executor(workers: int | None = None) -> tuple[Executor, int]:
    """Processes on this machine, one for each GPU or, without any, as many as asked for (1 by default); and their number.

    On the CPU they share the processors: two scenes at once on half the processors each take about as long as one after the other, but need
    the memory of two.

    Parameters
    ----------
    workers : int, optional
        Processes, from 1. Each imports the program that asks for it, which therefore stands under ``if __name__ == "__main__":``.

    Raises
    ------
    InputError
        For less than one worker.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError('a worker imports your script, which asks for workers itself: put what it does under if __name__ == "__main__":')
    if workers is not None and workers < 1:
        raise InputError(f"the number of workers is {workers}; accepted are integers from 1")
    gpus = gpu_count()
    count = workers or max(1, gpus)
    context = multiprocessing.get_context("spawn")
    devices = None
    if gpus:
        devices, names = context.Queue(), _gpu_names(gpus)
        for k in range(4 * count):  # for replaced workers, too
            devices.put(names[k % gpus])
    return ProcessPoolExecutor(count, context, _initialise, (threads_of(count), devices)), count


def threads_of(workers: int) -> int:
    """Threads of each of some workers: a share of the cores that this process may use, ``OMP_NUM_THREADS`` at most where that is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores // workers, int(given) if given.isdecimal() else cores))


def scheduler_executor(address: str) -> tuple[Executor, int]:
    """The workers of a running Dask cluster, and their number.

    `InputError` when distributed is not installed or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--scheduler needs Dask; install it with: pip install 'imaging-restore[cluster]'") from error
    try:
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address} ({one_line(error)})") from error
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return client.get_executor(pure=False, retries=1), max(1, workers)


def make_executors(workers: int | None, scheduler: str | None) -> tuple[Callable[[], Executor], int]:
    """What makes an executor, on this machine or a Dask cluster, and its number of workers; `InputError` as by those two."""

    def make() -> tuple[Executor, int]:
        return local_executor(workers) if scheduler is None else scheduler_executor(scheduler)

    executor, count = make()
    first = [executor]
    return (lambda: first.pop() if first else make()[0]), count


def shut_down(executor: Executor, *, wait: bool) -> None:
    """Let go of workers, and of what they have not begun."""
    with suppress(Exception):
        try:
            executor.shutdown(wait=wait, cancel_futures=True)
        except TypeError:  # Dask's knows no cancel_futures, and cancels when it is not to wait
            executor.shutdown(wait=False)
