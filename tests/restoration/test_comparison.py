"""Figures against a reference are those of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.metrics import coverage, psnr
from imaging.restoration import RestoreOptions, ScenePaths, comparison, restore_scene, run_scene
from tests.scenes import listing, read, smooth, write_scene


@pytest.mark.parametrize("darker", [1, 8])
def test_figures_are_those_of_the_stored_files(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, darker: int) -> None:
    monkeypatch.setattr(comparison, "_BLOCK", 50)  # several blocks, unequal ones
    truth = smooth(1, 80, 90) / darker  # against full scale also where a scene hardly uses it
    noisy = truth + np.random.default_rng(5).normal(0, 12, truth.shape)
    noisy[0, :20, :30] = 0
    truth[0, 70:] = 0
    scene = write_scene(tmp_path / "scene.tif", noisy.astype(np.uint16), nodata=0)
    reference = write_scene(tmp_path / "truth.tif", truth.astype(np.uint16), nodata=0)
    options = RestoreOptions(prior=str(tiny_prior), iterations=2)
    figures = restore_scene(scene, "pleiades-raw", options=options, reference=reference).reference
    before, after, std, x = (read(tmp_path / f"{n}.tif") for n in ("scene", "scene_restored", "scene_std", "truth"))
    good = (before != 0) & (x != 0)
    assert figures == pytest.approx(
        {
            "psnr_before": psnr(before, x, 4095, good),
            "psnr_after": psnr(after, x, 4095, good),
            "coverage_90": coverage(after, std, x, 0.90, good),
            "coverage_95": coverage(after, std, x, 0.95, good),
        }
    )


def test_a_reference_without_common_pixels_is_refused_before_anything_is_written(tmp_path: Path, tiny_prior: Path) -> None:
    pixels, truth = (smooth(1, 64, 64).astype(np.uint16) for _ in range(2))
    pixels[0, :32], truth[0, 32:] = 0, 0
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=0)
    reference = write_scene(tmp_path / "truth.tif", truth, nodata=0)
    before = listing(tmp_path)
    with pytest.raises(InputError, match="has no valid pixel where the scene has one"):
        restore_scene(scene, "pleiades-raw", options=RestoreOptions(prior=str(tiny_prior)), reference=reference)
    assert listing(tmp_path) == before


def test_an_output_never_replaces_the_reference(tmp_path: Path, tiny_prior: Path) -> None:
    scene, reference = (write_scene(tmp_path / f"{n}.tif", smooth(1, 64, 64).astype(np.uint16)) for n in ("scene", "truth"))
    before = listing(tmp_path)
    paths = ScenePaths(input=scene, output=reference, overwrite=True)
    with pytest.raises(InputError, match="is the reference itself; choose another --output"):
        run_scene(paths, "pleiades-raw", RestoreOptions(prior=str(tiny_prior)), reference=reference)
    assert listing(tmp_path) == before
