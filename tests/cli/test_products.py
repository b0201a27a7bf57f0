"""Products as they are delivered, restored by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.cli.commands import invoke, sentence
from tests.scenes import listing, read, smooth, write_scene
from tests.sensors.products import dimap, landsat, sentinel2


@pytest.fixture
def few(tiny_prior: Path) -> tuple[Any, ...]:
    """Options of a fast restoration."""
    return ("--prior", tiny_prior, "--iterations", 2, "--tile", 64, "--halo", 16)


def test_a_dimap_folder_is_restored_without_a_sensor_being_named(tmp_path: Path, few: tuple[Any, ...]) -> None:
    folder = dimap(tmp_path / "IMG_PHR1A_P_001", files={"IMG_R1C1.TIF IMG_R2C1.TIF": ("P",)}, tile=50)
    result = invoke("--input", folder, *few, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["sensor"] == "pleiades"
    assert found["restored"] == str(tmp_path / "IMG_PHR1A_P_001_restored.tif")
    assert "PHR 1A P, level SENSOR: sensor pleiades" in found["notes"]
    with rasterio.open(found["restored"]) as restored, rasterio.open(found["std"]) as std:
        assert restored.descriptions == ("PAN",)
        assert (restored.nodata, restored.scales, restored.offsets, restored.units) == (0, (0.1,), (0.5,), ("W/m2/sr/um",))
        assert restored.dtypes == ("uint16",)
        assert restored.crs.to_epsg() == 32631
        assert (restored.read(1)[:5, :5] == 0).all()
        assert np.isnan(std.read(1)[:5, :5]).all()
        assert np.isfinite(std.read(1)[6:]).all()
    whole = write_scene(tmp_path / "whole.tif", np.concatenate([read(folder / f"IMG_R{k}C1.TIF") for k in (1, 2)], 1), nodata=0)
    alone = invoke("--input", whole, *few, "--sensor", "pleiades", "--json")
    np.testing.assert_array_equal(read(Path(json.loads(alone.stdout)["restored"])), read(Path(found["restored"])))


def test_a_product_of_several_scenes_is_restored_one_by_one(tmp_path: Path, few: tuple[Any, ...]) -> None:
    folder = sentinel2(tmp_path / "S2B_MSIL1C_20240501.SAFE", bands=("B02", "B03", "B05"))
    before = listing(folder)
    told = sentence(invoke("--input", folder, *few))
    assert "several scenes; give the folder of their restored scenes with --output" in told
    result = invoke("--input", folder, "--output", tmp_path / "out", *few)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == [
        f"S2B_MSIL1C_20240501_{size}_{what}.tif" for size in ("10m", "20m") for what in ("restored", "std")
    ]
    record = json.loads((tmp_path / "out" / "archive.jsonl").read_text().splitlines()[0])
    assert record["result"]["sensor"] == "sentinel2"
    assert any("noise model of the metadata" in n for n in record["result"]["notes"])
    assert listing(folder) == before
    one = invoke("--input", folder / "10m", *few, "--json")
    assert one.exit_code == 0, one.output
    assert json.loads(one.stdout)["restored"] == str(tmp_path / "S2B_MSIL1C_20240501_10m_restored.tif")
    assert read(tmp_path / "S2B_MSIL1C_20240501_10m_restored.tif").shape == (2, 96, 96)
    with rasterio.open(tmp_path / "S2B_MSIL1C_20240501_10m_restored.tif") as restored:
        noise = json.loads(restored.tags()["IMAGING_NOISE"])
    assert noise["B2"][2] == 1000
    assert (
        read(tmp_path / "out" / "S2B_MSIL1C_20240501_10m_restored.tif").tobytes()
        == read(tmp_path / "S2B_MSIL1C_20240501_10m_restored.tif").tobytes()
    )


def test_a_folder_of_products_and_rasters_is_an_archive(tmp_path: Path, few: tuple[Any, ...]) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    dimap(archive / "phr" / "IMG_PHR1A_P_001", files={"IMG_R1C1.TIF": ("P",)})
    landsat(archive / "LC08_L1TP", bands=(3, 8))
    write_scene(archive / "scene.tif", smooth(1, 64, 64).astype(np.uint16))
    assert "a sensor is needed" in sentence(invoke("--input", archive, "--output", out, *few))
    (archive / "scene.tif").unlink()
    result = invoke("--input", archive, "--output", out, *few)
    assert result.exit_code == 0, result.output
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*_restored.tif")) == [
        "LC08_L1TP_MS_restored.tif",
        "LC08_L1TP_PAN_restored.tif",
        "phr/IMG_PHR1A_P_001_PAN_restored.tif",
    ]


def test_a_sensor_given_takes_the_place_of_the_product_s(tmp_path: Path, few: tuple[Any, ...]) -> None:
    folder = dimap(tmp_path / "IMG", mission="DOVE", files={"A.TIF": ("P",)})
    assert "a sensor is needed" in sentence(invoke("--input", folder, *few))
    result = invoke("--input", folder, "--sensor", "spot6", *few, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sensor"] == "spot6"


def test_a_product_that_is_not_complete_leaves_nothing(tmp_path: Path, few: tuple[Any, ...]) -> None:
    folder = landsat(tmp_path / "LC08", bands=(3, 4))
    next(folder.glob("*_B4.TIF")).unlink()
    before = listing(tmp_path)
    assert "B4.TIF is missing: the product is not complete" in sentence(invoke("--input", folder, *few))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("place", [".", "..", "PAN"])
def test_the_command_works_from_within_a_product(
    tmp_path: Path, few: tuple[Any, ...], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    folder = dimap(tmp_path / "IMG", files={"A.TIF": ("P",)})
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub" if place == ".." else folder)
    result = invoke("--input", place, *few, "--json")
    assert result.exit_code == 0, result.output
    name = "IMG_PAN_restored.tif" if place == "PAN" else "IMG_restored.tif"
    assert (tmp_path / name).exists()


def test_the_plugin_restores_products_and_archives(tmp_path: Path, few: tuple[Any, ...]) -> None:
    from click.testing import CliRunner

    from imaging.cli.restore import rio_restore

    folder = landsat(tmp_path / "LC08", bands=(3, 8))
    arguments = [str(a) for a in (folder, tmp_path / "out", *few)]
    result = CliRunner().invoke(rio_restore, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "LC08_MS_restored.tif").exists()
