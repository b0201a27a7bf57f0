"""The split of the data: uses share neither ground nor flight, and every script and recipe takes its images from it."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from scripts import split

ROOT = Path(os.environ.get("IMAGING_SPLIT_ROOT", Path(__file__).parents[1]))
"""Where the scripts and recipes are that are held to the split."""
FOLDERS = r"naip_rgbn|usgs_rgb|drone_linear|kodak24|bsds?\d|set12_|sr_test|garfield|copr_|caliterra|boruszyn|seneca|riverside"
READERS = ("tiles", "fine", "frames", "photographs", "of_split")
DATA = Path(os.environ.get("IMAGING_DATA", "no folder is given"))
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="IMAGING_DATA names no folder")
SCRIPTS = sorted(p for p in (ROOT / "scripts").rglob("*.py") if p.name != "split.py")
RECIPES = [*sorted((ROOT / "models").glob("*/recipe.toml")), ROOT / "scripts" / "bench" / "decoders.toml"]


def ground(name: str) -> str:
    """The place of a tile of Riverside."""
    return name.split("_")[-1]


def test_uses_share_no_ground() -> None:
    grounds = {use: {ground(split.PLACES[k]) for k in numbers} for use, numbers in split.TILES.items()}
    for one, other in combinations(grounds, 2):
        assert not grounds[one] & grounds[other], (one, other)
    left_out = set(range(40)) - {k for numbers in split.TILES.values() for k in numbers}
    assert left_out == {4, 7, 13, 34, 37}
    assert {ground(split.PLACES[k]) for k in (4, 13)} <= grounds["test"], "the ground of tests is seen by no other use"
    assert ground(split.PLACES[37]) in grounds["tuning"]
    assert ground(split.PLACES[7]) == ground(split.PLACES[34])


def test_uses_share_no_flight_but_the_dunes_that_tuning_and_calibration_share() -> None:
    assert {use for flight, use in split.FLIGHTS.items() if flight == "garfield"} == {"test"}
    assert set(split.DUNES.values()) == {"tuning", "calibration"}
    assert all(split.use_of(f"drone_linear12/train/{name}.tif") == "test" for name in split.SHOWN)
    assert not any(name.split("_")[0] in split.FLIGHTS for name in split.DUNES)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("naip_rgbn_60cm/more/fresno_2016_3.webp", "training"), ("naip_rgbn_60cm/val/riverside_2016_13.webp", "tuning"),
        ("naip_rgbn_60cm/val/riverside_2018_14.webp", "calibration"), ("naip_rgbn_60cm/val/riverside_2018_47.webp", "test"),
        ("naip_rgbn_60cm/val/riverside_2016_47.webp", ""), ("naip_rgbn_60cm/val/riverside_2020_78.webp", ""),
        ("naip_rgbn_60cm/val/unknown.webp", ""), ("usgs_rgb_30cm/train/river16.webp", "test"),
        ("usgs_rgb_30cm/train/river17.webp", "training"), ("drone_linear12/train/garfield_x4_IMG_161122_164200_0093_RGB.tif", "test"),
        ("drone_linear12/train/seneca_x4_IMG_0450.tif", "training"), ("drone_linear12/val/copr_x4_IMG_0106.tif", "calibration"),
        ("kodak24/08.png", "tuning"), ("kodak24/09.png", "test"), ("bsds500/test/388006.jpg", "calibration"),
        ("bsds500/test/385022.jpg", "training"), ("bsds500/train/99999.jpg", "training"), ("bsd68_gray/test001.png", "test"),
        ("sr_test/Set5/a.png", "test"), ("mine/a.tif", None),
    ],
)  # fmt: skip
def test_an_image_has_the_use_that_the_data_says(name: str, use: str | None) -> None:
    assert split.use_of(name) == use


def test_patterns_of_recipes_become_names_of_their_use(tmp_path: Path) -> None:
    kept = {"river17": "usgs_rgb_30cm/train", "riverside_2016_13": "naip_rgbn_60cm/val", "a": "mine"}
    for stem, folder in ({"river16": "usgs_rgb_30cm/train", "riverside_2018_47": "naip_rgbn_60cm/val"} | kept).items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{stem}.webp").touch()
    data = {"train": ["usgs_rgb_30cm/train/*.webp", "mine/*"], "validation": ["naip_rgbn_60cm/val/*.webp"]}
    wanted = {"train": ["usgs_rgb_30cm/train/river17.webp", "mine/a.webp"], "validation": ["naip_rgbn_60cm/val/riverside_2016_13.webp"]}
    assert split.applied(data, [tmp_path]) == wanted
    names = ["usgs_rgb_30cm/train/river16.webp", "mine/a.webp", *wanted["train"], *wanted["validation"]]
    np.savez(tmp_path / "pack.npz", **{name: np.zeros(1) for name in dict.fromkeys(names)})
    assert split.applied(data, [tmp_path / "pack.npz"]) == wanted
    with pytest.raises(FileNotFoundError, match="no image for training matches naip_rgbn_60cm/val"):
        split.applied({"train": data["validation"], "validation": []}, [tmp_path])
    assert split.noted(data) == {"split": "ground and flight"}
    assert split.noted({"train": ["mine/*"], "validation": []}) == {}


@with_data
def test_the_data_are_what_the_split_names() -> None:
    names = [p.stem.removeprefix("riverside_") for p in sorted((DATA / "naip_rgbn_60cm" / "val").glob("*"))]
    assert names == list(split.PLACES)
    assert [p.stem for p in sorted((DATA / "usgs_rgb_30cm" / "train").glob("*"))][7::8] == list(split.SPARED)
    assert [p.stem for p in sorted((DATA / "drone_linear12" / "val").glob("*"))] == list(split.DUNES)
    last = [p.relative_to(DATA).as_posix() for p in sorted((DATA / "bsds500" / "test").glob("*"))]
    assert [split.use_of(n) for n in last] == ["training"] * 160 + ["calibration"] * 40
    assert [len(split.found(DATA, "kodak24/*", use)) for use in ("tuning", "test")] == [8, 16]
    everything = [p.relative_to(DATA).as_posix() for p in sorted(DATA.glob("*/**/*")) if p.is_file()]
    assert all(split.use_of(n) is not None for n in everything)


@with_data
def test_scenes_have_the_numbers_of_their_tiles() -> None:
    assert list(split.tiles(DATA, "tuning")) == [f"tile {k}" for k in (0, 1, 2, 3, 5, 6, 8, 9)]
    assert list(split.tiles(DATA, "test", 4, slice(2))) == ["tile 20", "tile 21"]
    assert {x.shape for x in split.frames(DATA, "test").values()} == {(1, 528, 528)}
    assert list(split.fine(DATA, "test", 3, slice(6))) == [f"fine {k}" for k in range(6)]
    assert list(split.photographs(DATA, "tuning", "kodak", in_grey=True, part=slice(2))) == ["kodak 1", "kodak 2"]
    with pytest.raises(ValueError, match="'validation' is no use of images"):
        split.tiles(DATA, "validation")


@with_data
def test_all_images_for_training_are_of_that_use_and_have_enough_bands() -> None:
    four, one = (split.for_training([DATA], bands) for bands in (4, 1))
    frames = len(split.found(DATA, f"{split.FRAMES}/*/*.tif", "training"))
    others = sum(len(split.found(DATA, f"{folder}/*.webp", "training")) for folder in (f"{split.NAIP}/*", split.USGS))
    assert len(one) == others + 3 * frames
    assert {len(image) for image in four} == {4}


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Texts of a program that are not docstrings, with their lines."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value


def outside_the_split(source: str) -> list[str]:
    """What of a program names images of the data, or takes others of them than those of a use."""
    tree = ast.parse(source)
    found = [f"line {n} names {text!r}" for n, text in strings(tree) if re.search(FOLDERS + r"|\.webp$|\*\.(png|jpe?g)$", text)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name, use = ast.unparse(node.func).removeprefix("split."), node.args[1] if len(node.args) > 1 else None
            of_a_use = isinstance(use, ast.Name | ast.Attribute) or (isinstance(use, ast.Constant) and use.value in split.USES)
            if name in READERS and not of_a_use:
                found.append(f"line {node.lineno} takes {ast.unparse(node)}")
            if name == "find_images" and not re.fullmatch(r"data\[(\w+|'\w+')\]", ast.unparse(node.args[1])):
                found.append(f"line {node.lineno} takes images by {ast.unparse(node.args[1])}")
    if "find_images(" in source and "applied(" not in source:
        found.append("finds images by patterns that no split was applied to")
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_scripts_take_their_images_from_the_split(path: Path) -> None:
    assert not outside_the_split(path.read_text(encoding="utf-8"))


def test_a_script_that_picks_for_itself_is_found() -> None:
    assert outside_the_split('paths = sorted((data / "kodak24").glob("*.png"))')
    assert outside_the_split("x = tiles(data, range(4))")
    assert outside_the_split("x = fine(data)")
    assert outside_the_split('x = find_images([folder], ["a/*"])')
    assert not outside_the_split('"""Tiles of naip_rgbn_60cm."""\nx = tiles(data, "tuning", part=slice(4))')


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_recipes_name_no_image_and_say_by_which_split_they_were_trained(path: Path) -> None:
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    data = recipe["data"]
    patterns = [*data["train"], *data["validation"]]
    assert all("*" in p and p.split("/")[0] in split.FOLDERS for p in patterns)
    assert "spare" not in data
    assert not any(p.startswith(("kodak24", "naip_rgbn_60cm/val", "drone_linear12/val")) for p in data["train"])
    if "release" in recipe:
        assert recipe["release"]["split"] in ("former", split.NAME)
        card = path.with_name("card.md").read_text(encoding="utf-8")
        said = "before the split by ground and flight" if recipe["release"]["split"] == "former" else "split by ground and flight"
        assert said in " ".join(card.split())
