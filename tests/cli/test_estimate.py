"""``--sensor estimate``: what is written, reused and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging
from imaging.sensors import load_profile
from tests.cli.commands import invoke, sentence
from tests.scenes import listing, read, write_scene
from tests.sensors.buildings import noisy, seen, town


@pytest.fixture(scope="module")
def measured() -> np.ndarray[Any, Any]:
    """A town as a sensor of MTF 0.25 at Nyquist and noise 6, 0.09 sees it, ``(1, 512, 512)``."""
    return np.rint(noisy(seen(town(512, 3), 0.25, 0.25), 4)).clip(0, 4095).astype(np.uint16)[None]


@pytest.fixture
def few(tiny_prior: Path) -> tuple[Any, ...]:
    """Options of a fast restoration."""
    return ("--prior", tiny_prior, "--iterations", 1, "--method", "map")


def test_the_estimate_is_told_written_and_gives_the_same_bytes_again(
    tmp_path: Path, measured: np.ndarray[Any, Any], few: tuple[Any, ...]
) -> None:  # fmt: skip
    scene = write_scene(tmp_path / "scene.tif", measured)
    result = invoke("--input", scene, "--sensor", "estimate", *few)
    assert result.exit_code == 0, result.output
    assert f"sensor    {tmp_path / 'scene_sensor.toml'}" in result.stdout
    assert "note: B1: noise " in result.stdout
    assert "slanted edges" in result.stdout
    profile = load_profile(tmp_path / "scene_sensor.toml")
    (band,) = profile.bands
    assert profile.bits == 12
    assert band.mtf.nyquist == pytest.approx((0.25, 0.25), rel=0.15)
    assert band.noise is not None
    assert np.sqrt(band.noise.sigma0**2 + band.noise.gain * 800) == pytest.approx(np.sqrt(36 + 0.09 * 800), rel=0.1)
    again = invoke("--input", scene, "--sensor", tmp_path / "scene_sensor.toml", "--output", tmp_path / "again.tif", *few)
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(read(tmp_path / "again.tif"), read(tmp_path / "scene_restored.tif"))
    for name in ("scene_restored.tif", "scene_std.tif"):
        (tmp_path / name).unlink()
    assert "scene_sensor.toml exists; add --overwrite" in sentence(invoke("--input", scene, "--sensor", "estimate", *few))


def test_what_is_given_is_not_estimated(tmp_path: Path, few: tuple[Any, ...]) -> None:
    texture = np.random.default_rng(0).normal(1200, 8, (1, 256, 256)) + np.linspace(0, 800, 256)
    scene = write_scene(tmp_path / "scene.tif", np.rint(texture).astype(np.uint16))
    before = listing(tmp_path)
    told = sentence(invoke("--input", scene, "--sensor", "estimate", *few))
    assert "edges" in told
    assert "--mtf-nyquist" in told
    assert listing(tmp_path) == before
    result = invoke("--input", scene, "--sensor", "estimate", "--mtf-nyquist", 0.2, *few, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["sensor_file"] == str(tmp_path / "scene_sensor.toml")
    (band,) = load_profile(found["sensor_file"]).bands
    assert band.mtf.nyquist == (0.2, 0.2)
    assert band.mtf.source == "given by the user"
    assert band.noise is not None
    assert band.noise.sigma0**2 + band.noise.gain * 1500 == pytest.approx(64, rel=0.15)


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path, measured: np.ndarray[Any, Any], few: tuple[Any, ...]) -> None:
    scene = write_scene(tmp_path / "scene.tif", measured)
    before = listing(tmp_path)
    result = invoke("--input", scene, "--sensor", "estimate", *few, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert str(tmp_path / "scene_sensor.toml") in plan["outputs"]
    assert any("MTF at Nyquist" in n for n in plan["notes"])
    assert listing(tmp_path) == before


def test_arrays_and_scenes_of_small_numbers_are_estimated_too(tmp_path: Path, measured: np.ndarray[Any, Any], tiny_prior: Path) -> None:
    options = imaging.RestoreOptions(prior=str(tiny_prior), iterations=1, method="map")
    whole = imaging.restore(measured[:, :320, :320], "estimate", options=options)
    assert np.isfinite(whole.std).all()
    scene = write_scene(tmp_path / "scene.tif", (measured / 4095).astype(np.float32))
    result = invoke("--input", scene, "--sensor", "estimate", "--prior", tiny_prior, "--iterations", 1, "--method", "map", "--json")
    assert result.exit_code == 0, result.output
    (band,) = load_profile(json.loads(result.stdout)["sensor_file"]).bands
    assert band.noise is not None
    level = 800 / 4095
    assert np.sqrt(band.noise.sigma0**2 + band.noise.gain * level) * 4095 == pytest.approx(np.sqrt(36 + 0.09 * 800), rel=0.1)
    again = invoke("--input", scene, "--sensor", tmp_path / "scene_sensor.toml", "--output", tmp_path / "again.tif", "--prior", tiny_prior,
                   "--iterations", 1, "--method", "map")  # fmt: skip
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(read(tmp_path / "again.tif"), read(tmp_path / "scene_restored.tif"))
