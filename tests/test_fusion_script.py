"""The benchmark of bundles: its figures and its tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import sewar
import torch

from imaging.metrics import block_mean
from scripts.bench import fusion
from scripts.bench.fusion import LARGE, Sharpened, large, ours, scored, spectral, tables
from scripts.bench.results import Results
from scripts.bundles import CASES, MARGIN, Bundle, simulate
from scripts.rivals.pansharpening import METHODS
from scripts.scenes import Array


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Patches of 8 x 8 pixels in four bands that resemble each other."""
    rng = np.random.default_rng(0)
    n = (96 + 2 * MARGIN) // 8
    coarse = rng.uniform(0.1, 0.9, (5, n, n)).repeat(8, 1).repeat(8, 2)
    return simulate(np.float32(0.3 * coarse[:4] + 0.7 * coarse[4:]), CASES["nominal"], 0)


def test_ergas_and_angle_are_those_computed_by_hand() -> None:
    truth = np.stack([np.full((64, 64), 2.0), np.full((64, 64), 4.0)])
    image = truth + 0.2 * np.where(np.arange(64) % 2, 1, -1)[:, None]
    for ratio in (2, 4):
        assert spectral(image, truth, ratio)["ergas"] == pytest.approx(100 / ratio * ((0.1**2 + 0.05**2) / 2) ** 0.5)
    other = truth * np.array([1.0, 0.0])[:, None, None]
    assert spectral(other, truth, 4)["sam"] == pytest.approx(np.degrees(np.arctan2(4, 2)))
    assert spectral(3 * truth, truth, 4)["sam"] == pytest.approx(0, abs=1e-4)


def test_the_index_of_one_band_is_that_of_wang_and_bovik_on_standardised_blocks() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((96, 96))
    image = truth + 0.2 * rng.standard_normal(truth.shape)
    found = []
    for r, c in np.ndindex(3, 3):
        a, b = (v[32 * r : 32 * r + 32, 32 * c : 32 * c + 32].ravel() for v in (truth, image))
        a, b = ((v - a.mean()) / a.std(ddof=1) + 1 for v in (a, b))
        covariance = np.cov(a, b)
        found.append(4 * covariance[0, 1] * a.mean() * b.mean() / (covariance.trace() * (a.mean() ** 2 + b.mean() ** 2)))
    assert sewar.q2n(truth[..., None], image[..., None]) == pytest.approx(np.mean(found))
    four = rng.random((4, 96, 96))
    assert spectral(four, four, 4)["q2n"] == pytest.approx(1)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sewar", None)
    with pytest.raises(SystemExit, match="pip install sewar"):
        spectral(np.ones((2, 64, 64)), np.ones((2, 64, 64)), 4)


def test_intervals_are_scored_by_band_and_in_blocks(bundle: Bundle) -> None:
    rng = np.random.default_rng(1)
    widths = np.array([0.01, 0.02, 0.03, 0.04])[:, None, None]
    truth = bundle.truth[0].double().numpy()
    noise = rng.standard_normal(truth.shape)
    found = Sharpened(truth + widths * noise, widths * np.array([1, 1, 0.5, 2])[:, None, None] * np.ones_like(truth), None, 2.0)
    record = scored(found, bundle)
    np.testing.assert_allclose(record["coverage_95"], [0.95, 0.95, 0.6731, 0.99992], atol=0.02)
    np.testing.assert_allclose(record["bands"], -20 * np.log10(widths.ravel()), atol=0.2)
    assert record["speed"] == pytest.approx(2e6 / 96**2)
    assert "block_4" not in record
    of_means = lambda side: widths / side * np.ones((4, 96 // side, 96 // side))  # noqa: E731
    record = scored(found._replace(of_means=of_means), bundle)
    assert record["block_4"] == pytest.approx(0.95, abs=0.02)
    assert record["count_4"] == 4 * 16**2


def own_std(bundle: Bundle) -> Array:
    """Means over 4 x 4 pixels of the deviations: what means of wholly dependent errors would have."""
    std = ours("gaussian", bundle).std
    assert std is not None
    return block_mean(std, 4) * 1.001


def test_the_gaussian_posterior_is_better_than_substitution_and_covers(bundle: Bundle) -> None:
    own, other = (scored(fusion.sharpened(m, bundle), bundle) for m in ("gaussian", "GSA"))
    assert own["ergas"] < other["ergas"]
    assert np.mean(own["coverage_90"]) > 0.8
    wide = ours("gaussian", bundle).of_means
    assert wide is not None
    assert (wide(4) < own_std(bundle)).all()


def test_a_run_is_resumed_and_shown(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tile = np.random.default_rng(2).uniform(0.2, 0.8, (4, 128, 128)).astype(np.float32)
    monkeypatch.setattr(fusion, "tiles", lambda *_: {"tile 0": tile, "tile 1": tile[:, ::-1].copy()})
    monkeypatch.setattr(fusion, "SIDE", 128)
    arguments = argparse.Namespace(data=tmp_path, methods=["gaussian", "bicubic", "GSA"], scenes="validation", bundles="al", large=True)
    for _ in range(2):
        results = Results({"benchmark": "fusion"}, tmp_path / "work.json")
        fusion.run(arguments, results)
    assert [r["bundle"] for r in results.records] == 6 * ["nominal"] + 6 * ["half"] + 3 * [LARGE]
    shown = tables(results.records)
    assert list(shown) == ["nominal", "half", "coverage", "over rivals", LARGE]
    assert [row.split(" | ")[0] for row in shown["nominal"].splitlines()] == [
        "| method",
        "|---|---|---|---|---|---|---|",
        "| gaussian",
        "| bicubic",
        "| GSA",
    ]
    ergas = {m: [r["ergas"] for r in results.records if r["method"] == m and r["bundle"] == "half"] for m in ("gaussian", "GSA")}
    ratios = np.divide(ergas["gaussian"], ergas["GSA"])
    assert f"| half | gaussian | {np.median(ratios):.2f} ({max(ratios):.2f}) |  |  |" in shown["over rivals"]
    assert len(shown["coverage"].splitlines()) == 4


def test_a_large_scene_continues_the_tile(bundle: Bundle) -> None:
    truth = np.pad(bundle.truth[0].numpy(), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="edge")
    found = large(truth)
    assert found.pan.shape == (1, 1, 1024, 1024)
    torch.testing.assert_close(found.truth[0, :, :96, :96], bundle.truth[0])


def test_all_methods_have_a_place_in_the_options() -> None:
    assert set(fusion.RIVALS) <= set(METHODS)
    assert set(METHODS) | {"gaussian"} == set(fusion.OPTIONS["--methods"]["default"])  # type: ignore[call-overload]
