"""Super-resolving files: the command, what outputs keep, and one sentence for what cannot be used."""

from __future__ import annotations

import builtins
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import deepinv
import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine

from imaging.cli.superres import main
from imaging.errors import InputError
from imaging.restoration import ScenePaths, SuperResolveOptions, find_resolver, run_scene, super_resolve_scene
from imaging.superres import SuperResolutionReconstructor, SuperResolver, export, list_models, load_network
from imaging.superres.zoo import find_model, model_file
from tests.cli.commands import invoke, sentence
from tests.scenes import GCPS, RATIONAL, UTM, listing, read, smooth, write_scene
from tests.superres.models import quantised, release, tiny_space

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of scale 2, band by band."""
    return release(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of scale 4 of three bands."""
    return release(tmp_path_factory.mktemp("model") / "joint", bands=3, scale=4, name="joint")


def superres(scene: Path, model: Path, *arguments: object) -> Any:
    """The command on one thread."""
    return invoke("--input", scene, "--model", model, "--threads", 1, *arguments, command=main)


def test_output_is_finer_and_keeps_what_the_scene_says(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(2, 65, 90).astype(np.uint16), nodata=0, rpcs=RATIONAL)
    with rasterio.open(scene, "r+") as target:
        target.descriptions, target.scales = ("RED", "NIR"), (0.1, 0.1)
        target.update_tags(ACQUIRED="2020-02-02")
    result = superres(scene, model, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["restored"] == str(tmp_path / "a_x2.tif")
    assert (said["width"], said["height"], said["scale"], said["prior"], said["bands"]) == (180, 130, 2, "tiny", [1, 2])
    assert {"input", "std", "seconds", "megapixels", "peak_memory_mb", "version", "notes"} <= set(said)
    with rasterio.open(tmp_path / "a_x2.tif") as written:
        assert written.transform == Affine(0.25, 0, 371_000, 0, -0.25, 4_826_000)
        assert written.crs.to_string() == UTM["crs"]
        assert written.dtypes == ("uint16", "uint16")
        assert written.descriptions == ("RED", "NIR")
        assert written.scales == (0.1, 0.1)
        assert written.nodata == 0
        assert written.tags()["ACQUIRED"] == "2020-02-02"
        assert written.tags()["IMAGING_PRECISION"] == "int8"
        assert written.rpcs.line_off == pytest.approx(2 * (RATIONAL.line_off + 0.5) - 0.5)
        assert written.rpcs.line_scale == pytest.approx(2 * RATIONAL.line_scale)
    ground = write_scene(tmp_path / "g.tif", smooth(1, 64, 64).astype(np.uint8) // 8 + 40, crs="EPSG:4326", transform=None, gcps=GCPS)
    assert superres(ground, model).exit_code == 0
    with rasterio.open(tmp_path / "g_x2.tif") as written:
        assert [(p.row, p.col) for p in written.gcps[0]] == [(2 * p.row, 2 * p.col) for p in GCPS]


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_tiles_do_not_show(tmp_path: Path, model: Path, precision: str) -> None:
    values = smooth(1, 150, 213, 3).astype(np.uint16)
    values[0, 40:60, 100:130] = 0
    scene, found = write_scene(tmp_path / "a.tif", values, nodata=0), []
    for tile in (64, 96, 1024):
        path = tmp_path / f"{tile}.tif"
        options = SuperResolveOptions(model=str(model), tile=tile, range=4095, threads=1, precision=precision)
        super_resolve_scene(scene, output=path, options=options)
        found.append(read(path))
    assert found[0].shape == (1, 300, 426)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])
    assert (found[2][0, 80:120, 200:260] == 0).all()
    assert (found[2][0] == 0).sum() == 40 * 60


def test_block_means_are_kept(tmp_path: Path, model: Path) -> None:
    values = smooth(1, 256, 192, 5).astype(np.uint16)
    scene = write_scene(tmp_path / "a.tif", values)
    assert superres(scene, model).exit_code == 0
    before = values[0].reshape(4, 64, 3, 64).mean((1, 3))
    after = read(tmp_path / "a_x2.tif")[0].reshape(4, 128, 3, 128).mean((1, 3))
    np.testing.assert_allclose(after, before, rtol=0.002)


def test_float_scenes_and_masks(tmp_path: Path, model: Path) -> None:
    values = smooth(1, 48, 40, 2).astype(np.float32) / 1e4
    values[0, 5, 7] = np.nan
    scene = write_scene(tmp_path / "a.tif", values, nodata=np.nan)
    assert superres(scene, model).exit_code == 0
    found = read(tmp_path / "a_x2.tif")
    assert np.isnan(found).sum() == 4
    assert float(np.nanmax(np.abs(found.reshape(1, 48, 2, 40, 2).mean((2, 4)) - values))) < 0.03


def test_an_interrupted_run_is_taken_over(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 128, 128).astype(np.uint16))
    options = SuperResolveOptions(model=str(model), tile=64, threads=1)
    paths = ScenePaths(input=scene, output=tmp_path / "out.tif")
    run_scene(paths, None, options)
    whole, calls = (tmp_path / "out.tif").read_bytes(), []
    (tmp_path / "out.tif").unlink()
    window = SuperResolver.window

    def counted(self: SuperResolver, x: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return window(self, x)

    monkeypatch.setattr(SuperResolver, "window", counted)
    with pytest.raises(KeyboardInterrupt):
        run_scene(paths, None, options)
    assert not (tmp_path / "out.tif").exists()
    super_resolve_scene(scene, output=tmp_path / "out.tif", resume=True, options=options)
    assert len(calls) <= 6 + 16 - 3
    assert (tmp_path / "out.tif").read_bytes() == whole
    assert sorted(listing(tmp_path)) == ["a.tif", "out.tif"]


def test_archives_use_the_same_executors(tmp_path: Path, joint: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for k in range(2):
        write_scene(scenes / f"{k}.tif", smooth(3, 40, 33, k).astype(np.uint16))
    write_scene(scenes / "grey.tif", smooth(1, 40, 33).astype(np.uint16))
    result = superres(scenes, joint, "--scale", 4, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 3
    said = json.loads(result.stdout)
    assert (said["restored"], said["failed"]) == (2, 1)
    assert "takes 3 bands, the scene has 1" in said["failures"][0]["error"]
    assert read(tmp_path / "out" / "1_x4.tif").shape == (3, 160, 132)
    assert superres(scenes / "0.tif", joint).exit_code == 0  # the scale is the model's
    assert read(scenes / "0_x4.tif").shape == (3, 160, 132)


def test_bad_input_gets_one_sentence_and_nothing_is_written(tmp_path: Path, model: Path, joint: Path) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 40, 40).astype(np.uint16))
    before = listing(tmp_path)
    assert "takes 3 bands, the scene has 1" in sentence(superres(scene, joint, "--scale", 4))
    assert "is for scale 2, not 4" in sentence(superres(scene, model, "--scale", 4))
    assert "accepted are 2 and 4" in sentence(superres(scene, model, "--scale", 3))
    assert "accepted are int8, float32" in sentence(superres(scene, model, "--precision", "int4"))
    assert "accepted are multiples of the scale" in sentence(superres(scene, model, "--tile", 65))
    assert "numbers above 0" in sentence(superres(scene, model, "--range", -1))
    assert "integers from 1" in sentence(superres(scene, model, "--threads", 0))
    assert "is 'mars'" in sentence(superres(scene, model, "--device", "mars"))
    assert "no cuda provider" in sentence(superres(scene, model, "--device", "cuda"))
    assert "unknown super-resolution model 'quantnas'" in sentence(superres(scene, Path("quantnas")))
    assert "is not a model folder" in sentence(superres(scene, tmp_path))
    assert "does not exist" in sentence(superres(tmp_path / "b.tif", model))
    assert "is the input itself" in sentence(superres(scene, model, "--output", scene, "--overwrite"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, used=10**12, free=1000))
        assert f"the disk of {tmp_path} is full" in sentence(superres(scene, model))
    assert listing(tmp_path) == before
    (tmp_path / "a_x2.tif").write_text("mine")
    assert "exists; add --overwrite" in sentence(superres(scene, model))


def test_without_onnxruntime_there_is_one_sentence(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 40, 40).astype(np.uint16))
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'imaging-restore[superres]'" in sentence(superres(scene, model))


def test_damaged_model_is_refused(tmp_path: Path) -> None:
    folder = release(tmp_path / "tiny")
    path = folder / "int8.onnx"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="is damaged"):
        SuperResolver(str(folder))
    manifest = json.loads(path.with_suffix(".json").read_text())
    for text in ("{}", "[1]", json.dumps(manifest | {"margin": "wide"}), json.dumps(manifest | {"factor": 10**9})):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(InputError, match="no manifest"):
            SuperResolver(str(folder))
    for quantised_too, name in ((False, "weights"), (True, "quantised")):
        weights = folder / f"{name}.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        with pytest.raises(InputError, match=rf"{name}\.safetensors is damaged"):
            load_network(str(folder), quantised=quantised_too)
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().partition("[release]")[0])
    with pytest.raises(InputError, match="cannot be checked"):
        load_network(str(folder), quantised=True)
    (folder / "genotype.json").write_text("{}")
    with pytest.raises(InputError, match="schema"):
        load_network(str(folder), quantised=True)


def test_what_export_wrote_is_a_model(tmp_path: Path) -> None:
    network, x = quantised(tiny_space(bits=(8,)))
    export(network, "mine", tmp_path / "int8.onnx", quantised=True)
    assert SuperResolver(str(tmp_path), threads=1)(x[0].numpy()).shape == (1, 48, 40)
    with pytest.raises(InputError, match=r"float32\.json is no manifest"):
        SuperResolver(str(tmp_path), "float32")


def test_arrays_and_torch_agree_with_the_runtime(model: Path) -> None:
    scene = smooth(2, 80, 71, 1).astype(np.float32) / 4095
    fine = SuperResolver(str(model), threads=1)(scene)
    assert fine.shape == (2, 160, 142)
    np.testing.assert_array_equal(SuperResolver(str(model), threads=1)(scene[0]), fine[0])
    reconstructor = SuperResolutionReconstructor(str(model), quantised=True)
    y = torch.from_numpy(scene)[None]
    found = reconstructor(y, deepinv.physics.Downsampling(filter="bicubic", factor=2, img_size=(2, 160, 142)))
    cut = 2 * model_file(model, "int8")[1].margin
    assert found.shape == (1, 2, 160, 142)
    difference = 255 * np.abs(found[0].numpy() - fine)[:, cut:-cut, cut:-cut]
    assert difference.size > 1000
    assert difference.max() <= 2
    assert reconstructor.first_estimate(y, 6).shape == (1, 2, 172, 154)
    for bad in (scene[None], np.full((4, 4), np.nan), np.zeros((0, 4))):
        with pytest.raises(InputError, match="accepted are finite arrays"):
            SuperResolver(str(model))(bad)


def test_first_estimate_of_a_posterior_at_scale_2(model: Path, tiny_prior: Path) -> None:
    from imaging import VBLE, FitSettings, load_prior, load_profile, sensor_physics

    band = load_profile("pleiades-raw").bands[:1]
    physics = sensor_physics(band, 4095.0, 16, 2)
    y = torch.from_numpy(smooth(1, 64, 64).astype(np.float32) / 4095)[None]
    start = SuperResolutionReconstructor(str(model)).first_estimate(y, 16)
    posterior = VBLE(load_prior(str(tiny_prior)), FitSettings(iterations=2)).fit(y, physics, x_init=start, border=0)
    assert posterior.mean().shape == start.shape == (1, 1, 160, 160)


def test_by_default_a_scale_has_the_model_of_fewest_bands_then_the_largest() -> None:
    assert find_resolver(SuperResolveOptions(scale=2)).manifest.name == "quantnas-sat-x2"
    assert find_resolver(SuperResolveOptions(scale=4)).manifest.name == "quantnas-x4-large"


@pytest.mark.parametrize("name", [m.name for m in list_models()])
def test_released_models(name: str) -> None:
    """What is shipped: integers agree with what was trained, beat interpolation, and keep the input."""
    from imaging.superres.data import Degradation, psnr

    resolver, network = SuperResolver(name), load_network(name, quantised=True)
    m = resolver.manifest
    with rasterio.open(Path(__file__).parents[2] / "data" / "pleiades_like_pan_reference.tif") as source:
        pixels = source.read(1)[:192, :192].astype(np.float32) / 2500
    fine = torch.from_numpy(np.repeat(pixels[None, None], m.bands, 1))
    kind = "sensor" if "sat" in name else "bicubic"
    coarse = Degradation(kind=kind, levels=4095, mtf=(0.5, 0.5)).apply(fine, m.factor)
    cut, side = m.margin, coarse.shape[-1]
    assert 2 * cut < side
    with torch.no_grad():
        trained = network(coarse)
    found = torch.from_numpy(resolver.window(coarse.numpy()))
    inner = (..., slice(m.factor * cut, -m.factor * cut), slice(m.factor * cut, -m.factor * cut))
    difference = 255 * (found - trained)[inner].abs()
    assert float(difference.max()) <= 2
    assert float(difference.mean()) <= 0.1
    plain = torch.nn.functional.interpolate(coarse, scale_factor=m.factor, mode="bicubic", antialias=True)
    assert float((psnr(found[inner], fine[inner], 2) - psnr(plain[inner], fine[inner], 2))[0]) > 0.5
    assert find_model(name).joinpath("card.md").exists()


def test_tiles_do_not_show_where_one_of_several_bands_has_no_data(tmp_path: Path, joint: Path) -> None:
    values = smooth(3, 70, 61, 4).astype(np.int16)
    values[0, :, :30] = -9999
    values[1, 20:24, 40:50] = -9999
    scene, found = write_scene(tmp_path / "a.tif", values, nodata=-9999), []
    for tile in (64, 128, 1024):
        options = SuperResolveOptions(model=str(joint), scale=4, tile=tile, range=4095, threads=1)
        super_resolve_scene(scene, output=tmp_path / f"{tile}.tif", options=options)
        found.append(read(tmp_path / f"{tile}.tif"))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])
    assert (found[2][0, :, :120] == -9999).all()
    assert not (found[2][2] == -9999).any()


def test_archive_with_a_bad_setting_gets_one_sentence(tmp_path: Path, model: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    write_scene(scenes / "a.tif", smooth(1, 40, 33).astype(np.uint16))
    before = listing(tmp_path)
    for bad, said in ((("--precision", "int3"), "int8, float32"), (("--scale", 4), "is for scale 2"), (("--device", "cuda"), "no cuda")):
        assert said in sentence(superres(scenes, model, "--output", tmp_path / "out", *bad))
    assert "is for several scenes" in sentence(superres(scenes / "a.tif", model, "--shard", "1/2"))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_ranges_that_cannot_be_are_refused(tmp_path: Path, model: Path, dtype: str) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 40, 33).astype(dtype))
    for value in (1e-40, 1e300):
        assert f"accepted for {dtype}" in sentence(superres(scene, model, "--range", value))


def test_faint_and_negative_scenes_keep_their_values(tmp_path: Path, model: Path) -> None:
    for factor in (1e-12, -1.0):
        values = (factor * smooth(1, 48, 48, 6)).astype(np.float32)
        scene = write_scene(tmp_path / "a.tif", values)
        assert superres(scene, model, "--overwrite").exit_code == 0
        means = read(tmp_path / "a_x2.tif").reshape(1, 48, 2, 48, 2).mean((2, 4))
        assert float(np.abs(means.mean() / values.mean() - 1)) < 0.002
        assert float(np.abs(means - values).max()) < 0.3 * float(np.abs(values).max())


def test_outputs_are_no_input_of_a_further_run(tmp_path: Path, model: Path) -> None:
    write_scene(tmp_path / "a.tif", smooth(1, 40, 33).astype(np.uint16))
    assert superres(tmp_path / "a.tif", model).exit_code == 0
    result = superres(tmp_path, model, "--output", tmp_path / "out", "--json")
    assert json.loads(result.stdout)["restored"] == 1
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == ["a_x2.tif"]


def test_overviews_that_change_meanwhile_do_not_matter(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 128, 128).astype(np.uint16))
    overviews = Path(f"{scene}.ovr")
    overviews.write_bytes(scene.read_bytes())
    window = SuperResolver.window

    def with_overviews(self: SuperResolver, x: Any) -> Any:
        os.utime(overviews, (1, 1))
        return window(self, x)

    monkeypatch.setattr(SuperResolver, "window", with_overviews)
    assert superres(scene, model).exit_code == 0
