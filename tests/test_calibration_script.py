"""The guarantee that scripts.release.prior prints, on errors whose distribution differs from scene to scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imaging.priors.calibration import Calibration
from scripts.release import prior as script
from scripts.release.conformal import half_width


def scene(rng: np.random.Generator) -> Any:
    """400 pixels whose errors are Laplacian and of a scale of the scene's own; the posterior says 1."""
    error = (rng.lognormal(0, 0.4) * rng.laplace(size=(1, 20, 20))) ** 2
    zero, one = np.zeros((1, 20, 20)), np.ones((1, 20, 20))
    pixels = script.Variances(error, zero, one[None], zero, one)
    return script.Parts(1.0, pixels, pixels)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_a_new_scene_is_covered_on_average_and_not_much_more(level: float) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        found = {f"tile {k}": scene(rng) for k in range(24)}
        width, met = half_width(script.missed([found], Calibration()), level)
        assert met >= level
        covered += [script.share(scene(rng), Calibration(), width) for _ in range(20)]
    error = np.std(covered) / np.sqrt(60)
    assert np.mean(covered) > level - 2 * error
    assert np.mean(covered) < level + 0.06


def test_too_few_scenes_for_a_level_promise_nothing() -> None:
    rng = np.random.default_rng(1)
    found = {f"tile {k}": scene(rng) for k in range(8)}
    assert half_width(script.missed([found], Calibration()), 0.9)[0] == float("inf")


def test_factors_act_on_their_groups_of_frequencies() -> None:
    groups = len(script.CENTRES)
    one = np.ones((1, 1, 1))
    of = script.Variances(5 * one, 0 * one, np.ones((groups, 1, 1, 1)), 10 * one, 4 * one)
    parts = script.Parts(0.5, of, of)

    def covered(*factors: float) -> float:
        return float(script.share(parts, Calibration(*factors), 1.0))

    assert covered(1.01, 1.01, 0.0, 0.0) == 1
    assert covered(0.99, 0.99, 0.0, 0.0) == 0
    assert covered(0.5, 0.5, 0.3, 0.0) == 1
    assert covered(1.01, 1.01, 0.0, 1.0) == 0  # half of it at rate scale 0.5
    assert covered(1.01, 0.9, 0.0, 0.0) == 0
    assert covered(1.01, 0.9, 0.0, 0.0, 0.5) == 1  # twice the factor at Nyquist where the sharpness is 4
