"""The factor and the guarantee that scripts.release.prior prints, on errors whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.release import prior as script
from scripts.release.conformal import half_width


def scene(rng: np.random.Generator) -> script.Blocks:
    """400 pixels whose errors are Laplacian and of a scale of the scene's own; the posterior says 1."""
    error = np.abs(rng.lognormal(0, 0.4) * rng.laplace(size=400))
    return dict.fromkeys((1, 4, 16), script.Variances(error, np.zeros(400), np.ones(400)))


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_a_new_scene_is_covered_on_average_and_not_much_more(level: float) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        found = [(f"tile {k}", scene(rng)) for k in range(24)]
        width, met = half_width(script.missed_shares(found, 1.0), level)
        assert met >= level
        covered += [(scene(rng)[1].away(1.0) <= width).mean() for _ in range(20)]
    error = np.std(covered) / np.sqrt(60)
    assert np.mean(covered) > level - 2 * error
    assert np.mean(covered) < level + 0.06


def test_too_few_scenes_for_a_level_promise_nothing() -> None:
    rng = np.random.default_rng(1)
    found = [(f"tile {k}", scene(rng)) for k in range(8)]
    assert half_width(script.missed_shares(found, 1.0), 0.9)[0] == float("inf")


@pytest.mark.parametrize("truth", [0.7, 1.3])
def test_the_factor_of_gaussian_errors_is_found(truth: float) -> None:
    rng = np.random.default_rng(2)
    found = []
    for k in range(12):
        latent, fixed = rng.uniform(0.5, 2.0, 4000), rng.uniform(0.1, 0.4, 4000)
        error = np.abs(rng.normal(size=4000)) * np.sqrt(fixed + truth * latent)
        found.append((f"tile {k}", dict.fromkeys((1, 4, 16), script.Variances(error, fixed, latent))))
    assert script.best_factor(found) == pytest.approx(truth, abs=0.04)


def test_kinds_of_scenes_count_alike() -> None:
    one = np.ones(100)
    covered, missed = (dict.fromkeys((1, 4, 16), script.Variances(e * one, 0 * one, one)) for e in (0.5, 5.0))
    found = [("tile 0", covered), ("tile 1", covered), ("tile 2", covered), ("frame 0", missed)]
    assert script.coverages(found, 1.0).tolist() == [0.5] * 4


def test_what_was_measured_is_kept(tmp_path, monkeypatch) -> None:
    found, calls = scene(np.random.default_rng(3)), []
    monkeypatch.setattr(script, "variances", lambda t, model: calls.append(t) or found)
    for _ in range(2):
        again = script.kept(tmp_path / "0.npz", "trial", None)
        assert again[1].error == pytest.approx(found[1].error, rel=1e-6)
        assert list(again) == [1, 4, 16]
    assert calls == ["trial"]
