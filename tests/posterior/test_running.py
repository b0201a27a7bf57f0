"""A fit under way: interrupted and resumed it ends in the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imaging.posterior import VBLE, FitSettings
from tests.posterior.models import problem


def model(**settings: object) -> VBLE:
    return VBLE(problem().prior, FitSettings(iterations=9, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["vble-xz", "map"])
def test_a_resumed_fit_ends_in_the_same_bytes(method: str, tmp_path: Path) -> None:
    given = problem()
    whole = model(method=method).fit(given.y, given.physics, seed=3)
    first = model(method=method).begin(given.y, given.physics, seed=3)
    first.advance(4)
    assert not first.done
    save_file(first.state(), tmp_path / "state.safetensors")
    first.advance(2)  # what is saved does not follow
    second = model(method=method).begin(given.y, given.physics, seed=3)
    second.restore(load_file(tmp_path / "state.safetensors"))
    assert second.iteration == 4
    counted: list[int] = []
    second.advance(progress=counted.append)
    assert counted == [5, 6, 7, 8, 9]
    assert second.done
    second.advance(3)  # nothing is left to do
    found = second.posterior()
    assert torch.equal(found.objective, whole.objective)
    assert all(torch.equal(a, b) for a, b in zip(found.moments(4), whole.moments(4), strict=True))


def test_a_posterior_can_be_taken_at_any_time() -> None:
    given = problem()
    running = model().begin(given.y, given.physics)
    start = running.posterior()
    assert start.objective.shape == (0, 1)
    running.advance(5)
    later = running.posterior().mean(2)
    running.advance()
    assert not torch.equal(start.mean(2), later)
    assert not torch.equal(running.posterior().mean(2), later)


def test_the_state_of_another_fit_is_refused() -> None:
    given = problem()
    state = model().begin(given.y, given.physics).state()
    with pytest.raises(ValueError, match="of other latents or of another family"):
        model(method="map").begin(given.y, given.physics).restore(state)
    with pytest.raises(ValueError, match="of other latents or of another family"):
        model().begin(given.y[..., :7], given.physics).restore(state)
