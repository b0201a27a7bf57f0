"""Which method restores a scene, and that a pass does not show its tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

import imaging
from imaging.amortised import save_network
from imaging.errors import InputError
from imaging.names import DEFAULT_METHOD
from imaging.restoration import RestoreOptions, ScenePaths, check_choice, plan_scene, run_scene
from imaging.restoration.selftest import simulated_scene
from imaging.sensors import Noise, SensorProfile, load_profile, sensor_physics
from tests.amortised.networks import tiny
from tests.scenes import listing, read, write_scene

PROFILE = load_profile("pleiades-raw")
PASS = RestoreOptions(method="amortised")


def measured(side: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Stored values ``(1, side, side)`` of a simulated scene as `PROFILE` sees it."""
    physics = sensor_physics(PROFILE.bands[:1], PROFILE.full_scale, 8)
    y = physics(torch.from_numpy(simulated_scene(side + 16, seed)).float()[None, None], seed=seed)[0].numpy()
    return np.rint(y * PROFILE.full_scale).clip(0, PROFILE.full_scale).astype(np.uint16)


def noisier(factor: float) -> SensorProfile:
    """The profile with its noise deviation times a factor."""
    band = PROFILE.bands[0]
    assert band.noise is not None
    return replace(PROFILE, bands=(replace(band, noise=Noise(factor * band.noise.sigma0, factor**2 * band.noise.gain)),))


def restored(scene: Path, sensor: str | SensorProfile = "pleiades-raw", folder: Path | None = None, **options: Any) -> Any:
    paths = ScenePaths(input=scene, overwrite=True, save_samples=folder)
    return run_scene(paths, sensor, RestoreOptions(**options))


def test_default_is_the_one_that_is_written_down(tmp_path: Path) -> None:
    """The pass; fits start from Wiener filters or, in few steps where the network knows the scene, from the pass, if that is asked for."""
    scene = write_scene(tmp_path / "scene.tif", measured(96))
    for options, expected in (
        (RestoreOptions(), (DEFAULT_METHOD, "pan-amortised", 2, [])),
        (RestoreOptions(method="vble-xz"), ("vble-xz", "pan", 24, [])),
        (RestoreOptions(start="pass"), ("vble-xz", "pan", 4, [])),
    ):
        plan = plan_scene(scene, "pleiades-raw", options=options)
        assert (plan["method"], plan["prior"], plan["iterations"], plan["notes"]) == expected
    assert DEFAULT_METHOD == "amortised"


def test_the_pass_says_what_it_is(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", measured(96))
    result = restored(scene, method="amortised")
    assert (result.method, result.prior, result.iterations, result.notes) == ("amortised", "pan-amortised", 2, [])
    with rasterio.open(result.restored) as file:
        tags = file.tags()
    assert tags["IMAGING_METHOD"] == "amortised"
    assert tags["IMAGING_PRIOR"] == "pan-amortised"
    plan = plan_scene(scene, "pleiades-raw", overwrite=True, options=PASS)
    assert (plan["method"], plan["tiles"], plan["halo"]) == ("amortised", 1, 0)
    assert plan["tile"] % 32 == 0


@pytest.mark.parametrize(
    "options", [RestoreOptions(method="vble-xz"), RestoreOptions(start="pass"), PASS], ids=["fit", "from the pass", "pass"]
)
def test_result_is_better_than_the_measurement_and_covers(options: RestoreOptions) -> None:
    truth = simulated_scene(272)[8:-8, 8:-8] * PROFILE.full_scale
    found, std, _ = imaging.restore(measured(256), "pleiades-raw", options=options)
    error = abs(found[0] - truth)
    assert (error**2).mean() < 0.2 * ((measured(256)[0] - truth) ** 2).mean()
    assert 0.85 < (error < 1.645 * std[0]).mean() < 0.97


@pytest.mark.parametrize(
    "given", [{"prior": "vae-small"}, {"iterations": 2}, {"rate_scale": 0.5}, {"weight": 2.0}, {"calibrated": False}, {"start": "pass"}]
)
def test_settings_of_a_fit_choose_the_fit(tmp_path: Path, given: dict[str, Any]) -> None:
    plan = plan_scene(write_scene(tmp_path / "scene.tif", measured(64)), "pleiades-raw", options=RestoreOptions(**given))
    assert plan["method"] == "vble-xz"


def test_a_pass_refuses_settings_of_a_fit() -> None:
    with pytest.raises(InputError, match=r"weight is a setting of a fit.* choose --method vble-xz"):
        RestoreOptions(method="amortised", weight=3.0)
    with pytest.raises(InputError, match="iterations is 3; of amortised accepted are 1, 2, 4, other methods take any number"):
        RestoreOptions(method="amortised", iterations=3)
    with pytest.raises(InputError, match="pan is a prior and no inference network; choose --method vble-xz with it"):
        check_choice(RestoreOptions(method="amortised", prior="pan"))
    with pytest.raises(InputError, match="wcrr is a learned regulariser and no inference network; choose --method wcrr with it"):
        check_choice(RestoreOptions(method="amortised", prior="wcrr"))
    with pytest.raises(InputError, match="pan-amortised is an inference network and no prior; choose --method amortised with it"):
        check_choice(RestoreOptions(method="vble-xz", prior="pan-amortised"))


def test_unknown_scenes_are_fitted_unless_one_insists(tmp_path: Path) -> None:
    """Noise of a hundredth of what the profile says cannot be explained by it; the fit is said, and so is the warning."""
    scene, sensor = write_scene(tmp_path / "scene.tif", measured(96)), noisier(0.01)
    for options in (PASS, RestoreOptions(start="pass")):
        plan = plan_scene(scene, sensor, options=options)
        assert (plan["method"], plan["iterations"]) == ("vble-xz", 24)
        assert len(plan["notes"]) == 1
        said = "fitted from Wiener filters by vble-xz, as the scene is unlike what pan-amortised was trained for: its "
        assert plan["notes"][0].startswith(said)
    plan = plan_scene(scene, sensor, options=RestoreOptions(method="amortised", iterations=1))
    assert (plan["method"], plan["iterations"]) == ("vble-xz", 24)  # orientations of the pass are no steps of the fit
    insisted = restored(scene, sensor, fallback=False, method="amortised")
    assert insisted.method == "amortised"
    assert insisted.notes[0].startswith("the scene is unlike what pan-amortised was trained for: its ")
    plan = plan_scene(scene, sensor, overwrite=True, options=RestoreOptions(fallback=False, start="pass"))
    assert (plan["method"], plan["iterations"], plan["notes"]) == ("vble-xz", 4, [])


@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_of_a_pass_do_not_show(tmp_path: Path, scale: int) -> None:
    """Restored values, deviations and samples of several tiles are those of one window, to a thousandth of the deviation."""
    pixels = (measured(352 if scale == 1 else 256) / 4095).astype(np.float32)
    pixels[0, 60:80, 90:100] = np.nan
    scene = write_scene(tmp_path / "scene.tif", pixels)
    noise = (4.0 / 4095, 0.05 / 4095)
    found = []
    for tile in (1024, 96, 64):
        result = restored(scene, folder=tmp_path, tile=tile, samples=1, noise=noise, scale=scale, method="amortised", fallback=False)
        found.append([read(Path(p)) for p in (result.restored, result.std, tmp_path / "scene_sample_000.tif")])
    deviation = found[0][1]
    good = np.isfinite(deviation)
    for other in found[1:]:
        assert not all(np.array_equal(a[good], b[good]) for a, b in zip(found[0], other, strict=True))  # they were cut differently
        for a, b in zip(found[0], other, strict=True):
            assert (abs(a - b)[good] / deviation[good]).max() < 0.001


def test_bands_go_to_a_joint_network_in_its_order(tmp_path: Path) -> None:
    """The restoration of a scene whose bands are stored in another order is the same, in that order."""
    network = tiny(3)
    for exchange in network.exchanges:
        torch.nn.init.normal_(exchange.second.weight, std=0.1)  # type: ignore[arg-type,union-attr]
    recipe = 'name = "toy"\nbands = ["red", "green", "blue"]\nfamily = "amortised"\n\n[model]\nchannels = 3\nwidths = [8, 8, 8]\n'
    save_network(network, tmp_path, recipe + "blocks = [1, 1, 1]\n")
    pixels = np.concatenate([measured(96, k) for k in range(3)])
    one = PROFILE.bands[0]
    options, found = RestoreOptions(method="amortised", prior=str(tmp_path), fallback=False), []
    for names in (("red", "green", "blue"), ("blue", "red", "green")):
        profile = replace(PROFILE, bands=tuple(replace(one, name=n, common_name=n) for n in names))
        order = [("red", "green", "blue").index(n) for n in names]
        restored, std, _ = imaging.restore(pixels[order], profile, options=options)
        found.append([v[np.argsort(order)] for v in (restored, std)])
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4)
    alone = imaging.restore(pixels[:1].repeat(3, 0), replace(PROFILE, bands=profile.bands), options=options)
    assert not np.allclose(alone.restored[1], found[0][0][0], rtol=1e-6)  # the others matter


def test_arrays_and_files_are_restored_alike(tmp_path: Path) -> None:
    pixels = measured(128)
    result = restored(write_scene(tmp_path / "scene.tif", pixels), samples=1, folder=tmp_path, method="amortised")
    found, std, samples = imaging.restore(pixels, "pleiades-raw", options=RestoreOptions(samples=1, method="amortised"))
    np.testing.assert_array_equal(read(Path(result.restored)), np.rint(found))
    np.testing.assert_allclose(read(Path(result.std)), std, rtol=1e-4)
    np.testing.assert_array_equal(read(tmp_path / "scene_sample_000.tif"), np.rint(samples[0]))


def test_samples_of_a_pass_differ_and_follow_the_seed() -> None:
    found = [imaging.restore(measured(64), "pleiades-raw", options=replace(PASS, samples=2, seed=seed)) for seed in (0, 0, 1)]
    for k in range(2):
        assert np.array_equal(found[0].samples[k], found[1].samples[k])
        np.testing.assert_array_equal(found[0].restored, found[2].restored)
        errors = [((f.samples[j] - f.restored) / f.std).ravel() for f, j in ((found[0], k), (found[0], 1 - k), (found[2], k))]
        assert 0.8 < errors[0].std() < 1.2
        assert abs(np.corrcoef(errors)[0, 1:]).max() < 0.1


def test_invalid_pixels_keep_their_value(tmp_path: Path) -> None:
    pixels = measured(96)
    pixels[0, 30:40, 50:80] = 0
    result = restored(write_scene(tmp_path / "scene.tif", pixels, nodata=0), method="amortised")
    assert (read(Path(result.restored))[pixels == 0] == 0).all()
    assert (np.isnan(read(Path(result.std))) == (pixels == 0)).all()


def test_a_pass_of_a_scene_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", measured(96))
    restored(scene, method="amortised")
    first = listing(tmp_path)
    restored(scene, method="amortised")
    assert listing(tmp_path) == first
