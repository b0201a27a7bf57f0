"""Processes that train one model together."""

from __future__ import annotations

from pathlib import Path

import torch

from imaging.parallel import average_gradients, of_the_first, place, run_together


def work(folder: Path) -> None:
    """Gradients of a process are its number plus one, and its clock says its number plus seven."""
    number, count = place()
    weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(1))]
    for weight in weights[:2]:
        weight.grad = torch.full_like(weight, number + 1.0)
    average_gradients(weights)
    torch.save([count, weights[0].grad, weights[1].grad, weights[2].grad, of_the_first(number + 7.0)], folder / f"{number}.pt")


def test_gradients_are_averaged_and_the_first_clock_is_everyones(tmp_path: Path) -> None:
    run_together(2, work, tmp_path)
    for number in range(2):
        count, first, second, third, clock = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        assert count == 2
        torch.testing.assert_close(first, torch.full((2, 3), 1.5))
        torch.testing.assert_close(second, torch.full((4,), 1.5))
        assert third is None
        assert clock == 7.0


def test_one_process_is_alone(tmp_path: Path) -> None:
    run_together(1, work, tmp_path)
    count, first, *_, clock = torch.load(tmp_path / "0.pt", weights_only=True)
    assert (count, clock) == (1, 7.0)
    assert first.eq(1).all()
