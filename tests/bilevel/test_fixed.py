"""A fixed set of patches with several noises: losses, bounds and derivatives against those of its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imaging.bilevel import (
    FieldOfExperts,
    LowerLevel,
    MaidSettings,
    NoisyProblems,
    Patches,
    PatchSettings,
    TotalVariation,
    check_hypergradient,
    fixed,
    maid,
)
from imaging.bilevel.regularizers import Regularizer
from tests.bilevel.models import images


def several(regularizer: Regularizer, theta: torch.Tensor) -> NoisyProblems:
    pictures = list(images(3, 32)[:, 0])
    patches = Patches(pictures, PatchSettings(batch=2, crop=16, border=2, noise=(3.0, 30.0)), LowerLevel(regularizer))
    return fixed(patches, 3, theta)


THETA = torch.tensor([-2.0, -3.5], dtype=torch.float64)


def test_losses_count_alike_and_lie_in_their_interval() -> None:
    problem = several(TotalVariation(exponent=1.33), THETA)
    assert len(set(problem.noises)) == 3
    exact = problem.loss(problem.solve(THETA, 1e-9))
    assert exact == pytest.approx(1, rel=0.02), "shares are 1 over losses that are known to 1e-3 a pixel"
    by_hand = 0.0
    for p, noise, share in zip(problem.problems, problem.noises, problem.shares, strict=True):
        p.lower.regularizer.noise = noise
        by_hand += share * p.loss(p.solve(THETA, 1e-9)) / 3
    assert exact == pytest.approx(by_hand, rel=1e-7)
    low, high = problem.interval(problem.solve(THETA, 0.01))
    assert low <= exact <= high
    assert high < 1.1 * low


@pytest.mark.parametrize("kind", ["tv", "foe"])
def test_hypergradients_are_those_of_finite_differences(kind: str) -> None:
    regularizer = TotalVariation(exponent=1.33) if kind == "tv" else FieldOfExperts(3, 3, exponent=1.33)
    theta = THETA if kind == "tv" else regularizer.start(2).double()
    assert check_hypergradient(several(regularizer, theta), theta) < 1e-5


def test_maid_lowers_the_exact_loss_and_can_be_gone_on_from() -> None:
    problem, settings = several(TotalVariation(exponent=1.33), THETA), MaidSettings(accuracy=0.3, pairs=5)
    learned = maid(problem, THETA, settings, iterations=3)
    further = maid(problem, learned, settings, iterations=2)
    losses = [problem.loss(problem.solve(t, 1e-9)) for t in (THETA, learned.theta, further.theta)]
    assert losses[0] > losses[1] > losses[2]
    assert learned.history[-1].low <= losses[1] <= learned.history[-1].high


def test_what_is_kept_stays() -> None:
    regularizer = FieldOfExperts(3, 3, exponent=1.33)
    theta, free = regularizer.start(2).double(), torch.ones(regularizer.size)
    free[regularizer.groups()["filters"]] = 0
    problem = replace(several(regularizer, theta), free=free)
    learned = maid(problem, theta, MaidSettings(accuracy=0.3, pairs=5), iterations=4)
    assert len(learned.history) == 4
    moved = learned.theta != theta
    assert moved[free == 1].all()
    assert not moved[free == 0].any()
