"""Bundles on the command line: panchromatic and multispectral scenes that are fused, and what is no bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from imaging.cli.restore import rio_restore
from imaging.restoration import FuseOptions, fuse_scene
from imaging.sensors import write_profile
from tests.bundles import FUSE, PROFILE, Bundle, landsat_bundle, write_bundle
from tests.cli.commands import invoke, sentence
from tests.cli.test_restore import KEYS
from tests.scenes import listing, read, write_scene
from tests.sensors.products import landsat


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path)


def said(bundle: Bundle, *arguments: object) -> dict[str, Any]:
    """The object that a fusion prints."""
    result = invoke(*bundle.options, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def refusal(bundle: Bundle, *arguments: object) -> str:
    """The sentence of a command that must leave the folder as it was."""
    before = listing(bundle.folder)
    found = sentence(invoke(*arguments))
    assert listing(bundle.folder) == before
    return found


def test_a_bundle_is_fused_on_the_panchromatic_grid(bundle: Bundle) -> None:
    found = said(bundle, "--reference", bundle.truth)
    assert set(found) >= KEYS | {"pan", "pan_weights", "pan_shift"}
    assert (found["pan"], found["method"], found["sensor"]) == (str(bundle.pan), "gaussian", "bundle")
    np.testing.assert_allclose(found["pan_weights"], (0.25, 0.3, 0.25, 0.2), atol=0.02)
    np.testing.assert_allclose(found["pan_shift"], (0, 0), atol=0.02)
    with rasterio.open(found["restored"]) as fused, rasterio.open(bundle.pan) as pan, rasterio.open(bundle.ms) as ms:
        assert (fused.shape, fused.transform, fused.crs) == (pan.shape, pan.transform, pan.crs)
        assert (fused.count, fused.dtypes) == (ms.count, ms.dtypes)
    figures = found["reference"]
    assert figures["psnr_after"] > figures["psnr_before"] + 10, "repeated pixels lack half of the contrast"
    assert figures["coverage_90"] > 0.85


def test_options_reach_the_fusion(bundle: Bundle) -> None:
    given = ("--pan-weights", "0.3,0.3,0.2", "--pan-shift", "-0.25,0.5", "--bands", "1,2,3", "--tile", 128, "--halo", 32, "--seed", 3)
    found = said(bundle, *given, "--output", bundle.folder / "command.tif")
    options = FuseOptions(
        method="gaussian", pan_weights=(0.3, 0.3, 0.2), pan_shift=(-0.25, 0.5), bands=(1, 2, 3), tile=128, halo=32, seed=3
    )
    called = fuse_scene(bundle.ms, bundle.pan, str(bundle.sensor), output=bundle.folder / "call.tif", options=options)
    assert found["pan_shift"] == called.pan_shift == [-0.25, 0.5]
    assert found["pan_weights"] == called.pan_weights
    assert np.ptp(np.array(found["pan_weights"]) / (0.3, 0.3, 0.2)) < 1e-3, "up to one gain they are as given"
    for name in ("", "_std"):
        assert (bundle.folder / f"command{name}.tif").read_bytes() == (bundle.folder / f"call{name}.tif").read_bytes()


def test_the_summary_tells_of_both_scenes(bundle: Bundle) -> None:
    result = invoke(*bundle.options, "--pan-shift", "none", "--pan-weights", "auto")
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert [line[0] for line in lines[:5]] == ["restored", "std", "pan", "weights", "shift"]
    assert lines[2][1] == str(bundle.pan)
    assert len(lines[3][1].split()) == 4
    assert lines[4][1] == "+0.000 right, +0.000 down, panchromatic pixels"


def test_a_dry_run_of_a_bundle_writes_nothing(bundle: Bundle) -> None:
    before = listing(bundle.folder)
    text = invoke(*bundle.options, "--dry-run")
    plan = json.loads(invoke(*bundle.options, "--dry-run", "--json").stdout)
    assert listing(bundle.folder) == before
    assert (plan["width"], plan["height"], plan["pan"], plan["method"]) == (160, 160, str(bundle.pan), "gaussian")
    assert len(plan["pan_weights"]) == 4
    assert plan["outputs"][0] == str(bundle.folder / "ms_restored.tif")
    assert f"pan                {bundle.pan}" in text.stdout


def test_the_plugin_of_rasterio_fuses_too(bundle: Bundle) -> None:
    out = bundle.folder / "out.tif"
    result = invoke(bundle.ms, out, "--pan", bundle.pan, "--sensor", bundle.sensor, *FUSE, "-q", command=rio_restore)
    assert result.exit_code == 0, result.output
    assert read(out).shape == (4, 160, 160)


def _moved(path: Path, **profile: Any) -> None:
    """Write a scene anew with other properties."""
    values = read(path)
    with rasterio.open(path) as source:
        same = {"crs": source.crs, "transform": source.transform}
    write_scene(path, profile.pop("values", values), **same | {"photometric": "MINISBLACK"} | profile)


def _swap(bundle: Bundle) -> None:
    aside = bundle.pan.rename(bundle.folder / "aside")
    bundle.ms.rename(bundle.pan)
    aside.rename(bundle.ms)


def _grid(size: float, east: float = 371_000) -> Affine:
    return Affine(size, 0, east, 0, -size, 4_826_000)


BAD: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "pan missing": (lambda b: b.pan.rename(b.folder / "pam.tif"), "pan.tif does not exist; did you mean"),
    "ms missing": (lambda b: b.ms.unlink(), "ms.tif does not exist"),
    "pan no raster": (lambda b: b.pan.write_text("no raster"), "pan.tif is not a raster that can be read"),
    "swapped": (_swap, "a panchromatic scene, --pan, has one"),
    "another place": (lambda b: _moved(b.pan, transform=_grid(0.5, 500_000)), "do not overlap; are they of one place?"),
    "another system": (lambda b: _moved(b.pan, crs="EPSG:32632"), "have different coordinate reference systems"),
    "another type": (lambda b: _moved(b.pan, values=read(b.pan).astype(np.float32)), "the bands of a bundle have one type and unit"),
    "ratio 1": (lambda b: _moved(b.ms, transform=_grid(0.5)), "have pixels of one size (ratio 1)"),
    "ratio 7": (lambda b: _moved(b.ms, transform=_grid(3.5)), "accepted is one whole number from 2 to 6"),
    "pan coarser": (lambda b: _moved(b.ms, transform=_grid(0.25)), "are coarser than those of"),
    "nothing valid": (lambda b: _moved(b.pan, values=read(b.pan) * 0, nodata=0), "have no valid pixel in common"),
    "a band that the profile has not": (
        lambda b: write_profile(replace(PROFILE, bands=PROFILE.bands[:4]), b.sensor), "the scene has 4 bands, sensor bundle has B, G, R"
    ),
    "a profile without a panchromatic band": (
        lambda b: write_profile(replace(PROFILE, bands=PROFILE.bands[1:]), b.sensor), "has bands of one ground sample distance"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_bundle(bundle: Bundle, kind: str) -> None:
    make, expected = BAD[kind]
    make(bundle)
    assert expected in refusal(bundle, *bundle.options)


def test_valid_pixels_that_lie_apart(bundle: Bundle) -> None:
    pan, ms = read(bundle.pan), read(bundle.ms)
    pan[:, :, 80:], ms[:, :, :20] = 0, 0
    _moved(bundle.pan, values=pan, nodata=0)
    _moved(bundle.ms, values=ms, nodata=0)
    assert "have no valid pixel in common" in refusal(bundle, *bundle.options)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scale", "2"], "--scale 2 does not apply to bundles"),
        (["--mtf-nyquist", "0.2"], "--mtf-nyquist does not apply to bundles"),
        (["--noise", "4,0.1"], "--noise SIGMA0,GAIN does not apply to bundles"),
        (["--no-fallback"], "--no-fallback does not apply to bundles"),
        (["--download"], "--download does not apply to bundles"),
        (["--method", "tv"], "unknown method 'tv' of bundles"),
        (["--method", "amortised", "--prior", "nothing"], "unknown inference network of bundles 'nothing'"),
        (["--method", "vble-xz", "--prior", "rgbm"], "unknown prior 'rgbm'; did you mean rgb?"),
        (["--prior", "rgbn"], "gaussian takes no prior"),
        (["--pan-weights", "1,2"], "2 weights of the panchromatic band for 4 bands; give one for each"),
        (["--pan-weights", "0,0,0,0"], "accepted are numbers, not negative and not all zero"),
        (["--pan-shift", "nan,0"], "the shift of the panchromatic band is (nan, 0.0)"),
        (["--sensor", "estimate"], "sensors of a bundle cannot be estimated"),
        (["--sensor", "bundel"], "unknown sensor 'bundel'"),
        (["--iterations", "3"], "iterations do not apply to gaussian"),
        (["--bands", "5"], "band 5 of"),
        (["--shard", "1/2"], "--shard is for several scenes"),
    ],
)
def test_settings_that_bundles_have_not(bundle: Bundle, arguments: list[str], expected: str) -> None:
    assert expected in refusal(bundle, *bundle.options, *arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--pan-weights", "auto"], "--pan-weights is for bundles; add --pan PAN.tif or --pansharpen"),
        (["--pan-shift", "none"], "--pan-shift is for bundles; add --pan PAN.tif or --pansharpen"),
        (["--method", "gaussian"], "gaussian fuses bundles; add --pan PAN.tif or --pansharpen"),
        (["--pansharpen"], "ms.tif is no product as delivered; give the panchromatic scene of ms.tif with --pan PAN.tif"),
    ],
)
def test_options_of_bundles_without_one(bundle: Bundle, arguments: list[str], expected: str) -> None:
    assert expected in refusal(bundle, "--input", bundle.ms, "--sensor", bundle.sensor, *arguments)


def test_files_that_get_in_each_others_way(bundle: Bundle) -> None:
    pair = ("--input", bundle.ms, "--sensor", bundle.sensor, *FUSE)
    (bundle.folder / "link.tif").symlink_to(bundle.ms)
    for same in (bundle.ms, bundle.folder / "link.tif"):
        assert "is given as the multispectral scene and as the panchromatic one" in refusal(bundle, *pair, "--pan", same)
    for name in ("--output", "--std"):
        assert "is the input itself" in refusal(bundle, *pair, "--pan", bundle.pan, name, bundle.pan, "--overwrite")
    (bundle.folder / "pan.html").hardlink_to(bundle.pan)
    said = refusal(bundle, *pair, "--pan", bundle.pan, "--report", bundle.folder / "pan.html", "--overwrite")
    assert "is read as an input" in said
    assert "a sensor is needed" in refusal(bundle, "--input", bundle.ms, "--pan", bundle.pan)
    assert "--pan is for one scene" in refusal(bundle, "--input", bundle.folder, "--pan", bundle.pan, "--output", bundle.folder / "out")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--pan-weights", "a,b"], "'a,b' is neither auto nor a list of weights such as 0.2,0.3,0.3,0.2"),
        (["--pan-shift", "1"], "'1' is none of auto, none, or two numbers DX,DY such as 0.3,-0.2"),
        (["--pan", ""], "the name is empty"),
    ],
)
def test_values_that_cannot_be_parsed(arguments: list[str], expected: str) -> None:
    result = invoke("--input", "ms.tif", "--pan", "pan.tif", *arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())


def test_a_report_and_a_quicklook_of_a_bundle(bundle: Bundle) -> None:
    page, picture = bundle.folder / "report.html", bundle.folder / "look.png"
    result = invoke(*bundle.options, "--report", page, "--quicklook", picture, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["report"], found["quicklook"]) == (str(page), str(picture))
    text = page.read_text(encoding="utf-8")
    assert "How do the two scenes hang together?" in text
    assert "of pan.tif, 4 times as fine as measured" in text
    for name, weight in zip("BGRN", found["pan_weights"], strict=True):
        assert f'<th scope="row">{name}</th><td>{weight:.3f} ± ' in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_product_of_both_is_one_scene(tmp_path: Path) -> None:
    folder = landsat_bundle(tmp_path / "LC08")
    before = listing(tmp_path)
    assert "several scenes; give the folder of their restored scenes" in sentence(invoke("--input", folder))
    assert listing(tmp_path) == before
    for arguments in (("--input", folder, "--pansharpen"), ("--input", folder / "MS", "--pan", folder / "PAN")):
        result = invoke(*arguments, *FUSE, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert (found["sensor"], found["width"], found["bands"]) == ("landsat8", 192, [1, 2, 3, 4])
    one, two = (read(tmp_path / f"{name}_restored.tif") for name in ("LC08", "LC08_MS"))
    np.testing.assert_array_equal(one, two)


def test_products_without_both_are_refused(tmp_path: Path) -> None:
    folder = landsat(tmp_path / "LC08", bands=(3, 4))
    before = listing(tmp_path)
    assert "no bundle of one sharp scene and coarser ones" in sentence(invoke("--input", folder, "--pansharpen", *FUSE))
    assert listing(tmp_path) == before
