"""Position-keyed random draws: their distribution, and what they depend on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from imaging.draws import antithetic, normal, position_key, uniform


def keys(*shape: int, origin: tuple[int, int] = (0, 0), seed: int = 0, stream: str = "z") -> Tensor:
    return position_key(torch.Size(shape), [origin] * shape[0], seed, stream, torch.device("cpu"))


@pytest.mark.parametrize("iteration", [0, 1, 99, 1_000_000])
@pytest.mark.parametrize("seed", [0, 1, -5, 2**31 + 7])
def test_uniform_draws_are_uniform(iteration: int, seed: int) -> None:
    draws = uniform(keys(1, 8, 80, 80, seed=seed), iteration).flatten()
    assert kstest(draws.numpy() + 0.5, "uniform").pvalue > 1e-4
    assert draws.abs().max() < 0.5


def test_normal_draws_are_normal() -> None:
    draws = normal(keys(1, 4, 200, 200, stream="x"), 3).flatten()
    n = len(draws)
    assert kstest(draws.numpy(), "norm").pvalue > 1e-4
    assert float(draws.mean()) == pytest.approx(0, abs=5 / n**0.5)
    assert float(draws.var()) == pytest.approx(1, abs=5 * (2 / n) ** 0.5)
    assert float((draws**4).mean()) == pytest.approx(3, abs=5 * (96 / n) ** 0.5)
    assert torch.isfinite(draws).all()


def test_antithetic_draws_come_in_mirrored_pairs_that_are_independent_of_each_other() -> None:
    key = keys(1, 8, 80, 80)
    draws = [antithetic(key, k) for k in range(6)]
    for even in (0, 2, 4):
        assert torch.equal(draws[even + 1], -draws[even])
        assert kstest(draws[even].flatten().numpy() + 0.5, "uniform").pvalue > 1e-4
    assert abs(correlation(draws[0], draws[2])) < 5 / key.numel() ** 0.5
    assert abs(correlation(draws[0].abs(), draws[2].abs())) < 5 / key.numel() ** 0.5


def test_draws_are_the_same_in_both_precisions() -> None:
    key = keys(1, 4, 30, 30)
    assert torch.equal(uniform(key, 5), uniform(key, 5, torch.float64).float())
    assert torch.equal(uniform(key, 5).double(), uniform(key, 5, torch.float64))


def test_draw_of_a_position_is_that_of_any_window() -> None:
    whole = keys(1, 5, 60, 70, origin=(100, 200), seed=3)
    for row, column, height, width in ((0, 0, 60, 70), (7, 11, 20, 30), (59, 69, 1, 1)):
        window = keys(1, 5, height, width, origin=(100 + row, 200 + column), seed=3)
        part = whole[..., row : row + height, column : column + width]
        assert torch.equal(uniform(window, 4), uniform(part, 4))
        assert torch.equal(normal(window, 4), normal(part, 4))


def test_items_of_a_batch_have_their_own_origins() -> None:
    both = position_key(torch.Size((2, 3, 8, 9)), [(5, 6), (40, 2)], 1, "z", torch.device("cpu"))
    assert torch.equal(both[:1], keys(1, 3, 8, 9, origin=(5, 6), seed=1))
    assert torch.equal(both[1:], keys(1, 3, 8, 9, origin=(40, 2), seed=1))


def correlation(a: Tensor, b: Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_seeds_iterations_streams_and_bands_are_independent() -> None:
    shape = (1, 6, 100, 100)
    draws = [uniform(keys(*shape, seed=s, stream=t), k) for s, t, k in itertools.product((0, 1), ("z", "h", "x"), (0, 1))]
    for a, b in itertools.combinations(draws, 2):
        assert abs(correlation(a, b)) < 5 / a.numel() ** 0.5
        assert abs(correlation(a.abs(), b.abs())) < 5 / a.numel() ** 0.5
    field = draws[0]
    for a, b in (
        (field[:, 1:], field[:, :-1]),
        (field[..., 1:], field[..., :-1]),
        (field[..., 1:, :], field[..., :-1, :]),
        (field[..., 1:, 1:], field[..., :-1, :-1]),
        (field.transpose(-1, -2), field),
    ):
        different = a != b  # the diagonal of a field is its own transpose
        assert different.float().mean() > 0.98
        assert abs(correlation(a[different], b[different])) < 5 / a.numel() ** 0.5
