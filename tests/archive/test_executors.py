"""How many threads a worker gets."""

from __future__ import annotations

import pytest

from imaging.archive.executors import threads_of


@pytest.mark.parametrize(
    ("workers", "given", "expected"), [(1, None, 8), (2, None, 4), (3, None, 2), (20, None, 1), (2, "3", 3), (2, "6", 4), (1, "0", 1)]
)
def test_workers_share_the_cores_of_their_job(workers: int, given: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads_of(workers) == expected
