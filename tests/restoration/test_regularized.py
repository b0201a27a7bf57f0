"""Scenes restored with learned regularisers: points, without a spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from imaging.bilevel import load_regularizer
from imaging.errors import InputError
from imaging.names import METHODS
from imaging.releases import REGULARIZER_ZOO
from imaging.restoration import RestoreOptions, ScenePaths, plan_of, restore, restore_scene, run_scene
from imaging.restoration.regularized import method_of
from imaging.restoration.request import regularizer_method
from tests.scenes import listing, read, smooth, write_scene

SENSOR = "pleiades-raw"
PAN = smooth(1, 96, 96).astype(np.uint16)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", PAN)


def test_a_scene_has_no_standard_deviations_and_says_so(tmp_path: Path, scene: Path) -> None:
    steps: list[tuple[int, int]] = []
    paths, options = ScenePaths(input=scene), RestoreOptions(method="tv")
    plan = plan_of(paths, SENSOR, options)
    assert plan["outputs"] == [str(tmp_path / "scene_restored.tif")]
    result = run_scene(paths, SENSOR, options, progress=lambda a, b: steps.append((a, b)))
    assert sorted(listing(tmp_path)) == ["scene.tif", "scene_restored.tif"]
    assert (result.std, result.method, result.prior, result.iterations) == (None, "tv", "tv", 60)
    assert any("no standard deviations" in n for n in result.notes)
    assert (steps[0], steps[-1]) == ((1, 60), (60, 60))
    with rasterio.open(result.restored) as restored:
        tags = restored.tags()
        assert restored.dtypes == ("uint16",)
    assert (tags["IMAGING_METHOD"], tags["IMAGING_CALIBRATION"]) == ("tv", '"none"')
    assert len(tags["IMAGING_PRIOR_SHA256"]) == 64


@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_do_not_show(tmp_path: Path, scale: int) -> None:
    values = smooth(1, 160, 160).astype(np.float32)
    scene, found = write_scene(tmp_path / "scene.tif", values), []
    for tile in (64, 512):
        paths = ScenePaths(input=scene, output=tmp_path / f"tile{tile}.tif")
        run_scene(paths, SENSOR, RestoreOptions(method="tv", tile=tile, scale=scale))
        found.append(read(paths.restored_path))
    assert found[0].shape == (1, 160 * scale, 160 * scale)
    assert float(np.abs(found[0] - found[1]).max()) < 0.02 * float(np.abs(found[1][:, ::scale, ::scale] - values).mean())


def test_bands_of_an_array_are_restored_one_by_one() -> None:
    values = smooth(2, 48, 56)
    values[:, 5, 7] = np.nan
    options = RestoreOptions(method="tv", noise=(8.0, 0.05), iterations=15)
    both = restore(values, "generic", options=options)
    alone = restore(values[1], "generic", options=options)
    assert both.restored.shape == values.shape
    assert np.isnan(both.std).all()
    assert both.samples.shape == (0, 2, 48, 56)
    assert np.array_equal(np.isnan(both.restored), np.isnan(values))
    np.testing.assert_allclose(both.restored[1], alone.restored[0], atol=0.5, equal_nan=True)


def test_a_weight_is_a_factor(scene: Path) -> None:
    values = read(scene)
    rough = [
        np.abs(np.diff(restore(values, SENSOR, options=RestoreOptions(method="tv", weight=w, iterations=30)).restored)).mean()
        for w in (0.1, None, 10)
    ]
    assert rough[0] > rough[1] > rough[2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"samples": 2}, "samples does not apply"), ({"rate_scale": 0.5}, "rate scale"), ({"calibrated": False}, "uncalibrated")],
)
def test_what_only_a_posterior_has_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RestoreOptions(method="wcrr", **changed)  # type: ignore[arg-type]


def test_standard_deviations_by_name_are_refused(tmp_path: Path, scene: Path) -> None:
    with pytest.raises(InputError, match="tv is a point estimate without standard deviations"):
        restore_scene(scene, SENSOR, std=tmp_path / "s.tif", options=RestoreOptions(method="tv"))
    assert sorted(listing(tmp_path)) == ["scene.tif"]


@pytest.mark.parametrize(("method", "prior"), [("tv", "wcrr"), ("wcrr", "crr"), ("crr", "wcrr-bsd"), ("foe", "tv"), ("tv", "pan")])
def test_a_method_takes_its_own_regularisers_alone(tmp_path: Path, scene: Path, method: str, prior: str) -> None:
    with pytest.raises(InputError, match=r"no learned regulariser; choose --method|is no regulariser for --method|unknown regulariser"):
        restore_scene(scene, SENSOR, options=RestoreOptions(method=method, prior=prior))
    assert sorted(listing(tmp_path)) == ["scene.tif"]


def test_a_regulariser_is_no_prior(scene: Path) -> None:
    with pytest.raises(InputError, match="tv"):
        restore_scene(scene, SENSOR, options=RestoreOptions(prior="tv"))


def test_methods_are_known_by_their_names() -> None:
    assert METHODS == ("amortised", "vble-xz", "vble", "map", "tv", "foe", "crr", "wcrr")
    with pytest.raises(InputError, match="did you mean wcrr"):
        RestoreOptions(method="wccr")
    with pytest.raises(InputError, match="unknown method"):
        RestoreOptions(method="wavelet")


def test_the_method_of_a_recipe_is_that_of_its_regulariser() -> None:
    released = REGULARIZER_ZOO.models()
    assert {m.family for m in released} == {"tv", "foe", "ridge"}
    assert [regularizer_method(m) for m in released] == [method_of(load_regularizer(m.name)) for m in released]
