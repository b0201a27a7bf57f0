"""What the outputs say about themselves, read by the system's gdalinfo: another build of GDAL than the one that wrote them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio

from tests.cli.commands import restore
from tests.cli.test_refusals import INPUTS, refusal
from tests.restoration.test_metadata import KINDS, pan, rgb
from tests.scenes import smooth, write_scene

pytestmark = pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo (Debian: gdal-bin) is not installed")

Info = dict[str, Any]
BLANK = slice(5, 17)
"""Rows without valid pixels, 12 of 48."""


class Outcome(NamedTuple):
    """What gdalinfo says of a scene, its restored values and their standard deviations."""

    case: str
    scale: int
    scene: Info
    restored: Info
    std: Info


def gdalinfo(path: Path) -> Info:
    """All that it says of a file, statistics included, so that every pixel is decoded; a warning is a failure."""
    command = ["gdalinfo", "--config", "GDAL_PAM_ENABLED", "NO", "-json", "-stats", "-mdd", "all", str(path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def _masked(path: Path) -> Path:
    write_scene(path, smooth(2, 48, 64).astype(np.uint16))
    mask = np.full((48, 64), 255, np.uint8)
    mask[BLANK] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    return path


def _blank(values: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    values[-1, BLANK] = value
    return values


def _scaled(path: Path) -> Path:
    write_scene(path, smooth(2, 48, 64).astype(np.uint16))
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (1e-4, 1.0), (-0.1, 0.5)
    return path


PARTLY_BLANK: dict[str, Callable[[Path], Path]] = {
    "internal mask": _masked,
    "alpha": lambda p: write_scene(p, _blank(np.repeat(rgb()[:1, :48], 4, 0), 0), photometric="rgb", alpha="YES"),
    "grey and alpha": lambda p: write_scene(p, _blank(np.repeat(pan(), 2, 0), 0), photometric="MINISBLACK", alpha="YES"),
    "nodata with pixels": lambda p: write_scene(p, _blank(pan(), 0), nodata=0),
    "int16": lambda p: write_scene(p, _blank(pan().astype(np.int16), -32768), nodata=-32768),
    "nan": lambda p: write_scene(p, _blank(pan().astype(np.float32), np.nan)),
    "nan as nodata": lambda p: write_scene(p, _blank(pan().astype(np.float32), np.nan), nodata=np.nan),
}
CASES = KINDS | {"scale without unit": _scaled} | PARTLY_BLANK
FINER = ["utm", "rotated", "pixel is point", "gcps", "gcps, pixel is point", "rpc", "internal mask"]


@pytest.fixture(params=[(c, 1) for c in CASES] + [(c, 2) for c in FINER], ids=lambda p: f"{p[0]} x {p[1]}", scope="module")
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_prior: Path) -> Outcome:
    """A case at a scale, restored by the command."""
    case, scale = request.param
    scene = CASES[case](tmp_path_factory.mktemp("case") / "scene.tif")
    result = restore(scene, tiny_prior, "--sensor", "generic", "--noise", "6,0.09", "--iterations", 1, "--scale", scale)
    assert result.exit_code == 0, result.output
    return Outcome(case, scale, *(gdalinfo(scene.with_name(f"scene{suffix}.tif")) for suffix in ("", "_restored", "_std")))


def numbers(info: Info, factor: int = 1) -> dict[str, float]:
    """The georeference's numbers, expected on a grid so many times as fine: corners stay, centres of pixels move."""
    found = {f"size {i}": factor * n for i, n in enumerate(info["size"])}
    for i, n in enumerate(info.get("geoTransform", ())):
        found[f"transform {i}"] = n if i in {0, 3} else n / factor
    for i, point in enumerate(info.get("gcps", {"gcpList": ()})["gcpList"]):
        found |= {f"gcp {i} {k}": point[k] * (factor if k in {"line", "pixel"} else 1) for k in ("line", "pixel", "x", "y", "z")}
    for key, text in info["metadata"].get("RPC", {}).items():
        for i, n in enumerate(map(float, text.split())):
            of_pixels, offset = key.startswith(("LINE_", "SAMP_")), key.endswith("_OFF")
            moved = factor * (n + 0.5) - 0.5 if offset else factor * n
            found[f"rpc {key} {i}"] = moved if of_pixels and key.endswith(("_OFF", "_SCALE")) else n
    return found


def tags(item: Info) -> Info:
    """Metadata by namespace, of a file or a band, without what describes the storage and what a restoration adds."""
    found = {}
    for space, entries in item["metadata"].items():
        kept = {k: v for k, v in entries.items() if not k.startswith(("IMAGING_", "STATISTICS_"))}
        if kept and space not in {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC"}:
            found[space] = kept
    return found


def facts(band: Info) -> Info:
    """What a band says about itself, its pixels and their layout apart."""
    pixels = {"block", "overviews", "min", "max", "minimum", "maximum", "mean", "stdDev"}
    found = {k: v for k, v in band.items() if k not in pixels} | {"metadata": tags(band)}
    return found | ({"noDataValue": str(float(band["noDataValue"]))} if "noDataValue" in band else {})  # NaN equals itself as a text


def expected_std(band: Info, number: int) -> Info:
    """What the standard deviations of a band say about themselves."""
    scale = band.get("scale", 1.0)
    unit = band.get("unit", "DN" if scale == 1 else None)
    name = band.get("description", f"band {number}")
    found = {
        "band": number, "type": "Float32", "noDataValue": "nan", "description": f"standard deviation {name}", "metadata": tags(band),
        "colorInterpretation": "Gray" if number == 1 else "Undefined",
    }  # fmt: skip
    found |= {} if scale == 1 else {"scale": scale, "offset": 0.0}
    found |= {} if unit is None else {"unit": unit}
    return found | ({"mask": band["mask"]} if band.get("mask", {}).get("flags") == ["PER_DATASET"] else {})


def valid(band: Info) -> float:
    """Per cent of the pixels that are valid."""
    return float(band["metadata"][""]["STATISTICS_VALID_PERCENT"])


def test_pixels_lie_where_they_lay(outcome: Outcome) -> None:
    scene = outcome.scene
    for out in (outcome.restored, outcome.std):
        assert numbers(out) == pytest.approx(numbers(scene, outcome.scale), rel=1e-12, abs=0)
        assert out.get("coordinateSystem") == scene.get("coordinateSystem")
        assert out.get("gcps", {}).get("coordinateSystem") == scene.get("gcps", {}).get("coordinateSystem")
        assert {"geoTransform", "gcps"} & out.keys() == {"geoTransform", "gcps"} & scene.keys()
        assert ("RPC" in out["metadata"]) == ("RPC" in scene["metadata"])


def test_bands_say_what_they_said(outcome: Outcome) -> None:
    _, _, scene, restored, std = outcome
    assert [facts(b) for b in restored["bands"]] == [facts(b) for b in scene["bands"]]
    image = [b for b in scene["bands"] if b["colorInterpretation"] != "Alpha"]
    assert [facts(b) for b in std["bands"]] == [expected_std(b, i) for i, b in enumerate(image, start=1)]


def test_the_same_pixels_are_valid(outcome: Outcome) -> None:
    """GDAL's own statistics, as of alpha, know of nodata and NaN only; those that are written leave out what masks and alpha hide."""
    share = 75 if outcome.case in PARTLY_BLANK else 100
    image = [b["colorInterpretation"] != "Alpha" for b in outcome.scene["bands"]]
    assert [valid(b) for b in outcome.restored["bands"]] == [share if is_image else 100 for is_image in image]
    assert {valid(b) for b in outcome.std["bands"]} == {share}


def test_tags_stay_and_files_are_cloud_optimised(outcome: Outcome) -> None:
    for out in (outcome.restored, outcome.std):
        assert tags(out) == tags(outcome.scene)
        assert out["driverShortName"] == "GTiff"
        assert out["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
        assert len(out["files"]) == 1
        said = out["metadata"][""]
        assert (said["IMAGING_SENSOR"], said["IMAGING_PRIOR"], said["IMAGING_SCALE"]) == ("generic", "tiny", str(outcome.scale))
    assert outcome.std["metadata"][""]["IMAGING_QUANTITY"] == "posterior standard deviation of the restored values, in stored units"


def test_gdalinfo_sees_what_the_scenes_are_named_for(tmp_path: Path) -> None:
    """Guards the comparisons above against scenes, or a gdalinfo, that say nothing."""
    found = {case: gdalinfo(make(tmp_path / f"{case}.tif")) for case, make in CASES.items()}
    first = {case: facts(info["bands"][0]) for case, info in found.items()}
    assert found["utm"]["coordinateSystem"]["wkt"].endswith('ID["EPSG",32631]]')
    assert found["utm"]["geoTransform"] == [371_000, 0.5, 0, 4_826_000, 0, -0.5]
    assert found["rotated"]["geoTransform"][2] == pytest.approx(0.25)
    assert found["gcps"]["gcps"]["coordinateSystem"]["wkt"].endswith('ID["EPSG",4326]]')
    points = [(p["line"], p["pixel"], p["x"], p["y"], p["z"]) for p in found["gcps"]["gcps"]["gcpList"]]
    assert points == [(0, 0, 1.5, 43.5, 10), (32.5, 64, 1.6, 43.5, 11), (40, 0, 1.5, 43.4, 12)]
    assert "coordinateSystem" not in found["gcps without a system"]["gcps"]
    assert tags(found["gcps, pixel is point"])[""]["AREA_OR_POINT"] == "Point"
    rpc = numbers(found["rpc"])
    assert (rpc["rpc LINE_OFF 0"], rpc["rpc SAMP_SCALE 0"], rpc["rpc ERR_BIAS 0"], rpc["rpc LINE_NUM_COEFF 19"]) == (30, 32, 1, 0.019)
    for case in ("gcps", "rpc", "no georeference"):
        assert not {"geoTransform", "coordinateSystem"} & found[case].keys()
    assert "gcps" not in found["no georeference"]
    assert "RPC" not in found["no georeference"]["metadata"]
    assert first["internal mask"]["mask"]["flags"] == ["PER_DATASET"]
    assert first["alpha"]["mask"]["flags"] == ["PER_DATASET", "ALPHA"]
    assert [b["colorInterpretation"] for b in found["alpha"]["bands"]] == ["Red", "Green", "Blue", "Alpha"]
    assert [b["colorInterpretation"] for b in found["grey and alpha"]["bands"]] == ["Gray", "Alpha"]
    nodata = {case: band["noDataValue"] for case, band in first.items() if "noDataValue" in band}
    assert nodata == {"nodata": "0.0", "nodata with pixels": "0.0", "int16": "-32768.0", "float": "-9999.0", "nan as nodata": "nan"}
    assert (first["int16"]["type"], first["nan"]["type"]) == ("Int16", "Float32")
    for case in ("nodata with pixels", "int16", "nan", "nan as nodata"):
        assert valid(found[case]["bands"][0]) == 75, case
    said = [(b["scale"], b["offset"], b["unit"], b["description"]) for b in found["tags, scale, offset, unit"]["bands"]]
    assert said == [(0.01, -1, "W/m2/sr/um", "B0"), (0.02, 3, "W/m2/sr/um", "a band of the user's")]
    assert tags(found["tags, scale, offset, unit"])["IMAGERY"] == {"CLOUDCOVER": "3", "NOTE": '"a" < b & é'}
    assert tags(found["tags, scale, offset, unit"])[""]["TIFFTAG_IMAGEDESCRIPTION"] == "a scene"
    assert [b["colorInterpretation"] for b in found["colour interpretation"]["bands"]] == ["Blue", "Green", "Red", "Undefined"]
    assert found["jpeg"]["metadata"]["IMAGE_STRUCTURE"]["COMPRESSION"] == "YCbCr JPEG"
    assert found["jpeg"]["bands"][0]["type"] == "Byte"
    assert found["tiled"]["bands"][0]["block"] == [16, 32]
    assert found["striped"]["bands"][0]["block"] == [64, 7]
    assert (tmp_path / "big tiff.tif").read_bytes()[2] == 43


def test_colour_tables_are_refused(tmp_path: Path, tiny_prior: Path) -> None:
    make, expected = INPUTS["palette"]
    path = tmp_path / "scene.tif"
    make(path)
    assert gdalinfo(path)["bands"][0]["colorTable"]["count"] == 256
    assert expected in refusal(tmp_path, path, tiny_prior)
