"""Which scenes a folder, a pattern or a table names, and where their outputs go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imaging.archive import Entry, find_entries, shard
from imaging.archive.manifest import is_archive, names_pans
from imaging.errors import InputError
from tests.sensors.products import landsat

OUT = Path("out")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def pairs(entries: list[Entry], folder: Path) -> list[tuple[str, str]]:
    return [(str(e.input.relative_to(folder)), str(e.output)) for e in entries]


def test_a_folder_is_mirrored_without_outputs_and_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path, "b.tif", "a.TIFF", "deep/er/c.jp2", "notes.txt", "b_restored.tif", "b_std.tif", "b_sample_003.tif", ".hidden/d.tif")
    touch(tmp_path, ".e.tif", ".b_restored.tif.partial/0.tif", "my_std_scene.tif")
    assert pairs(find_entries(tmp_path, OUT), tmp_path) == [
        ("a.TIFF", "out/a_restored.tif"),
        ("b.tif", "out/b_restored.tif"),
        ("deep/er/c.jp2", "out/deep/er/c_restored.tif"),
        ("my_std_scene.tif", "out/my_std_scene_restored.tif"),
    ]


def test_patterns_are_mirrored_from_their_fixed_part_on(tmp_path: Path) -> None:
    touch(tmp_path, "2023/x/pan.tif", "2024/y/pan.tif", "2024/y/ms.tif", "2024/pan.tif")
    assert pairs(find_entries(tmp_path / "202?" / "*" / "pan.tif", OUT), tmp_path) == [
        ("2023/x/pan.tif", "out/2023/x/pan_restored.tif"),
        ("2024/y/pan.tif", "out/2024/y/pan_restored.tif"),
    ]
    assert len(find_entries(tmp_path / "2024" / "**" / "*.tif", OUT)) == 3


def test_a_table_names_inputs_outputs_and_sensors(tmp_path: Path) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text("\ufeffinput,sensor,output\na.tif,spot6,\n sub/b.tif ,,x/b.tif\n/abs/c.tif,,\n", encoding="utf-8")
    assert find_entries(table, OUT) == [
        Entry(tmp_path / "a.tif", OUT / "a_restored.tif", "spot6", Path("a_restored.tif")),
        Entry(tmp_path / "sub/b.tif", OUT / "x/b.tif", None, Path("x/b.tif")),
        Entry(Path("/abs/c.tif"), OUT / "c_restored.tif", None, Path("c_restored.tif")),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file\na.tif\n", "has the column 'file'; accepted are input, output, sensor and pan"),
        ("output\na.tif\n", "has no column 'input'"),
        ("input,output\n,x.tif\n", "line 2 of .* names no input"),
        ("input\na.tif\nb.tif,c\n", "line 3 of .* has too many fields"),
        ("input\n", "names no raster"),
        ("input\na/x.tif\nb/x.tif\n", "would both write out/x_restored.tif"),
        ("input,output\na.tif,x.tif\nb.tif,d/../x.tif\n", "would both write out/d/../x.tif"),
        ("input,output\na.tif,../../esc.tif\n", "line 2 of .* has an output outside of out: ../../esc.tif"),
        ("input,output\na.tif,/esc.tif\n", "line 2 of .* has an output outside of out: /esc.tif"),
        ("input,input\na.tif,b.tif\n", "has two columns 'input'"),
        (b"input\n\xff\xfe.tif\n", "cannot be read as a table"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str | bytes, words: str) -> None:
    table = tmp_path / "scenes.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words):
        find_entries(table, OUT)


def test_a_table_names_panchromatic_scenes(tmp_path: Path) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text("input,pan\na.tif,sub/p.tif\nb.tif,\nPROD/MS,/abs/PROD/PAN\n")
    assert [e.pan for e in find_entries(table, OUT)] == [tmp_path / "sub/p.tif", None, Path("/abs/PROD/PAN")]
    assert names_pans(table)
    table.write_text("input,sensor\na.tif,\n")
    assert not names_pans(table)
    assert not names_pans(tmp_path)
    assert not names_pans(tmp_path / "missing.csv")


def test_an_output_must_not_be_another_row_s_panchromatic_scene(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.tif", "p.tif")
    table = tmp_path / "scenes.csv"
    table.write_text("input,pan,output\na.tif,,p.tif\nb.tif,p.tif,y.tif\n")
    with pytest.raises(InputError, match="from which another scene is restored"):
        find_entries(table, tmp_path)


def test_products_may_be_one_scene_each(tmp_path: Path) -> None:
    landsat(tmp_path / "LC08", bands=(3, 8))
    assert is_archive(tmp_path / "LC08")
    assert not is_archive(tmp_path / "LC08", whole=True)
    assert is_archive(tmp_path, whole=True)
    assert pairs(find_entries(tmp_path, OUT, whole=True), tmp_path) == [("LC08", "out/LC08_restored.tif")]


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scenes.csv")
    with pytest.raises(InputError, match=r"scenes.csv is neither a file nor a folder"):
        find_entries(tmp_path / "scenes.csv", OUT)


def test_what_names_nothing_or_one_output_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no raster"):
        find_entries(tmp_path, OUT)
    with pytest.raises(InputError, match="names no raster"):
        find_entries(tmp_path / "*.tif", OUT)
    touch(tmp_path, "a.tif", "a.jp2")
    with pytest.raises(InputError, match="would both write"):
        find_entries(tmp_path, OUT)


def test_an_output_must_not_be_another_rows_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "b.tif")
    table = tmp_path / "scenes.csv"
    for output in ("b.tif", "link.tif", "out/../b.tif"):
        table.write_text(f"input,output\na.tif,{output}\nb.tif,y.tif\n")
        with pytest.raises(InputError, match="from which another scene is restored"):
            find_entries(table, tmp_path)


def test_what_is_an_archive(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].tif")
    assert is_archive(tmp_path)
    assert is_archive(tmp_path / "*.tif")
    assert is_archive(tmp_path / "scenes.CSV")
    assert not is_archive(tmp_path / "a[1].tif")  # a file of that name
    assert not is_archive(tmp_path / "b.tif")


def test_shards_share_all_scenes() -> None:
    entries = [Entry(Path(f"{k}.tif"), Path(f"{k}_restored.tif")) for k in range(10)]
    parts = [shard(entries, (i, 3)) for i in (1, 2, 3)]
    assert sorted((e for p in parts for e in p), key=lambda e: int(e.input.stem)) == entries
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert shard(entries[:1], (3, 3)) == []
    for wrong in ((0, 3), (4, 3)):
        with pytest.raises(InputError, match="the shard is"):
            shard(entries, wrong)


def test_a_broken_product_is_an_entry_that_fails_and_open_folders_are_searched(tmp_path: Path) -> None:
    landsat(tmp_path / "flat", bands=(3,))
    touch(tmp_path, "flat/below/scene.tif")
    landsat(tmp_path / "old", spacecraft="LANDSAT_7", bands=(3,))
    found = {str(e.input.relative_to(tmp_path)): e for e in find_entries(tmp_path, OUT)}
    assert sorted(found) == ["flat/MS", "flat/below/scene.tif", "old"]
    assert found["flat/MS"].error is None
    assert "is of LANDSAT_7" in (found["old"].error or "")
    assert found["flat/MS"].place == Path("flat_MS_restored.tif")
