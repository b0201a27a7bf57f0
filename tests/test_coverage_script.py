"""The benchmark of coverage: posteriors of one fit, and the intervals over scenes that tables show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imaging.posterior import VBLE, FitSettings, PosteriorMixture
from imaging.priors.autoencoders import LappedAutoencoder
from scripts.bench import coverage as script
from scripts.bench.tables import interval, with_intervals
from scripts.sensors import sensors, trial


@pytest.fixture(scope="module")
def seen():
    torch.manual_seed(0)
    prior = LappedAutoencoder(width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    prior.set_statistics(torch.rand(4, 1, 64, 64))
    prior.requires_grad_(False)
    t = trial(np.random.default_rng(0).random((1, 80, 80), np.float32), next(iter(sensors().values())), 0)
    return script.Fitted(t, VBLE(prior, FitSettings(iterations=2, calibrated=False)), 0)


def test_without_a_factor_there_are_two_posteriors_with_one_four() -> None:
    assert list(script.variants(1.0)) == ["VBLE", "VBLE-xz"]
    assert script.variants(0.9) == {
        "VBLE, no factor": (False, 1.0), "VBLE-xz, no factor": (True, 1.0), "VBLE": (False, 0.9), "VBLE-xz": (True, 0.9),
    }  # fmt: skip


def test_rows_of_a_fit_are_those_of_its_posteriors(seen) -> None:
    fitted, mixture = seen, seen.fit()
    t = fitted.trial
    latents = PosteriorMixture(tuple(replace(p, information=None) for p in mixture.parts))
    wide = PosteriorMixture(tuple(replace(p, family=p.family.scaled(4.0)) for p in mixture.parts))
    for how, posterior in (((True, 1.0), mixture), ((False, 1.0), latents), ((True, 4.0), wide)):
        found = fitted.measured(*how)
        mean, std = (t.scored(v, fitted.margin) for v in posterior.moments(script.SAMPLES))
        away = np.abs(mean - t.wanted(fitted.margin)) / std
        assert found["coverage_90"] == pytest.approx(np.mean(away <= 1.6449), abs=1e-3)
        assert found["coverage_95"] == pytest.approx(np.mean(away <= 1.9600), abs=1e-3)
        mean, std = (t.scored(v, fitted.margin, 4) for v in posterior.moments(script.SAMPLES, 4))
        assert found["block_4"] == pytest.approx(np.mean(np.abs(mean - t.wanted(fitted.margin, 4)) / std <= 1.9600), abs=1e-3)


def test_a_larger_factor_and_the_image_part_widen(seen) -> None:
    narrow, wide, image = (seen.measured(*how)["coverage_90"] for how in ((False, 1.0), (False, 4.0), (True, 1.0)))
    assert wide > narrow
    assert image > narrow


def test_figures_of_a_group_become_a_mean_with_its_interval() -> None:
    records = [{"kind": k, "scene": f"tile {n}", "coverage_90": 0.8 + 0.02 * n} for k in "ab" for n in range(3)]
    records += [{"kind": "c", "scene": "tile 0"}, {"kind": "d", "coverage_90": 0.5}]
    shown = with_intervals(records, ["kind"], "coverage_90")
    middle, half = interval([0.80, 0.82, 0.84])
    assert [r["coverage_90"] for r in shown[:6]] == [f"{middle:.3f} ± {half:.3f}"] * 6
    assert shown[6:] == records[6:]
