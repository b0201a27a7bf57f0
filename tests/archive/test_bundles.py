"""Archives of bundles: tables with panchromatic scenes, and products of both."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imaging.archive import Entry, check_archive, restore_archive
from imaging.errors import InputError
from imaging.restoration import FuseOptions, RestoreOptions, SuperResolveOptions
from tests.bundles import FUSE, landsat_bundle, write_bundle
from tests.cli.commands import invoke, sentence
from tests.scenes import listing, read


def table(folder: Path, rows: str) -> Path:
    """A table beside two bundles, ``a`` and ``b``."""
    for k, name in enumerate("ab"):
        write_bundle(folder, name, seed=10 * k)
    path = folder / "scenes.csv"
    path.write_text(rows)
    return path


ROWS = "input,pan,output,sensor\nams.tif,apan.tif,one.tif,asensor.toml\nbms.tif,bpan.tif,,\n"


def test_rows_with_a_panchromatic_scene_are_fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = table(tmp_path / "in", ROWS), tmp_path / "out"
    monkeypatch.chdir(source.parent)  # sensors of a table are names or files of the working folder, as --sensor is
    result = invoke("--input", source, "--output", out, "--sensor", "bsensor.toml", *FUSE, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["restored"] == 2
    records = [json.loads(line) for line in (out / "archive.jsonl").read_text().splitlines()]
    assert [Path(r["result"]["pan"]).name for r in records] == ["apan.tif", "bpan.tif"]
    alone = tmp_path / "alone.tif"
    pair = ("--input", "bms.tif", "--pan", "bpan.tif", "--sensor", "bsensor.toml")
    assert invoke(*pair, *FUSE, "--output", alone).exit_code == 0
    np.testing.assert_array_equal(read(out / "bms_restored.tif"), read(alone))
    again = invoke("--input", source, "--output", out, "--sensor", "bsensor.toml", *FUSE, "--json")
    assert json.loads(again.stdout)["skipped"] == 2


def test_calls_take_what_a_table_names_for_bundles(tmp_path: Path) -> None:
    source, out = table(tmp_path / "in", "input,pan\nams.tif,apan.tif\nbms.tif,missing.tif\n"), tmp_path / "out"
    report = restore_archive(source, str(tmp_path / "in" / "asensor.toml"), output=out, make_executor=lambda: ThreadPoolExecutor(1))
    assert [r["status"] for r in report.records] == ["restored", "failed"]
    assert report.records[0]["result"]["method"] == "amortised"  # as that of any call
    assert "missing.tif does not exist" in report.records[1]["error"]


def test_a_plan_of_bundles_names_both_scenes(tmp_path: Path) -> None:
    source = table(tmp_path, ROWS.replace("asensor.toml", ""))
    given = ("--input", source, "--output", tmp_path / "out", "--sensor", tmp_path / "asensor.toml", "--dry-run")
    lines = [json.loads(line) for line in invoke(*given, "--json").stdout.splitlines()]
    assert [line["pan"] for line in lines] == [str(tmp_path / "apan.tif"), str(tmp_path / "bpan.tif")]
    assert f"{tmp_path / 'ams.tif'} with {tmp_path / 'apan.tif'} -> " in invoke(*given).stdout


@pytest.mark.parametrize(
    ("rows", "arguments", "expected"),
    [
        ("input,pan\nams.tif,apan.tif\nbms.tif,\n", (), "bms.tif is no product as delivered and has no panchromatic scene"),
        ("input,pan\nams.tif,apan.tif\n", ("--scale", "2"), "--scale 2 does not apply to bundles"),
        ("input,pan\nams.tif,apan.tif\n", ("--pan", "x.tif"), "--pan is for one scene"),
        ("input,pan,sensor\nams.tif,apan.tif,estimate\n", (), "sensors of a bundle cannot be estimated"),
        ("input,pan,output\nams.tif,apan.tif,bpan.tif\nbms.tif,bpan.tif,\n", ("--output", "."), "from which another scene is restored"),
        ("input\nams.tif\n", (), "gaussian fuses bundles"),
    ],
)
def test_archives_of_bundles_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, arguments: tuple[str, ...], expected: str
) -> None:
    source = table(tmp_path, rows)
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    given = ("--input", source, "--output", "out", "--sensor", "asensor.toml", *FUSE, *arguments)
    assert expected in sentence(invoke(*given))
    assert listing(tmp_path) == before


def test_bundles_are_only_fused() -> None:
    entry = Entry(Path("ms.tif"), Path("out.tif"), "pleiades", pan=Path("pan.tif"))
    for options in (RestoreOptions(), SuperResolveOptions()):
        with pytest.raises(InputError, match=r"comes with the panchromatic scene pan.tif, with which only a fusion has to do"):
            check_archive([entry], None, options)
    with pytest.raises(InputError, match="unknown inference network of bundles 'nothing'"):
        check_archive([entry], None, FuseOptions(prior="nothing"))


def test_products_of_a_folder_are_fused_as_one_scene_each(tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    landsat_bundle(archive / "LC08")
    result = invoke("--input", archive, "--output", out, "--pansharpen", *FUSE, "--json")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.glob("*.tif")) == ["LC08_restored.tif", "LC08_std.tif"]
    assert read(out / "LC08_restored.tif").shape == (4, 192, 192)
