"""The split of the data folder, by ground and by flight: the one module that knows which image is for what.

========================  =============================  =========================  ==============================================
use                       tiles of Riverside, 0.6 m      frames in linear light     other images
========================  =============================  =========================  ==============================================
training                  none; the other cities         boruszyn, caliterra,       0.3 m without every eighth tile in sorted order,
                                                         seneca                     BSDS500 without the last 40 of its folder "test"
tuning, also validation   0 to 9 without 4 and 7         copr, first three          Kodak 1 to 8
curves of trainings
calibration               10 to 19 without 13, 32 to 39  copr, last two             the last 40 of BSDS500's folder "test"
                          without 34 and 37
test                      20 to 31                       garfield                   Kodak 9 to 24, BSD68, every eighth tile of 0.3 m
========================  =============================  =========================  ==============================================

The last number of a NAIP tile's name is its place, and the same place in two years the same ground: 4, 7, 13, 34 and 37 are left out since
another use has their ground. Images are ``(bands, H, W)`` in [0, 1], by name; the first word of a name is the kind of scene. Images of
other folders than these are the user's own: no split is known of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from imaging.training import find_images, read_image
from scripts.scenes import FULL, MARGIN, Array, Scenes, chosen, grey, middle

NAME = "ground and flight"
"""Of this split in the ``[release]`` table of a recipe; weights released before it say ``"former"`` there."""
USES = ("training", "tuning", "calibration", "test")
ALL = slice(None)
NAIP, USGS, FRAMES, KODAK, BSDS, BSD68 = "naip_rgbn_60cm", "usgs_rgb_30cm/train", "drone_linear12", "kodak24", "bsds500", "bsd68_gray"
FOLDERS = (NAIP, USGS.split("/")[0], FRAMES, KODAK, BSDS, BSD68, "set12_gray", "sr_test", "pleiades_real")
"""Of the data; all images of the last four are for tests."""
REAL = "pleiades_real/toulouse_pan.tif"
"""A panchromatic scene as a satellite's owner delivers it, without a truth."""

PLACES = (
    *(f"2016_{k}" for k in (13, 34, 36, 46, 47, 52, 61, 7, 70, 78)),
    *(f"2018_{k}" for k in (14, 17, 19, 26, 29, 33, 37, 39, 42, 45, 47, 55, 59, 63, 76, 77, 87)),
    *(f"2020_{k}" for k in (26, 30, 31, 40, 44, 51, 62, 7, 72, 73, 78, 84, 88)),
)
"""Year and place of the tiles of Riverside, in the order of their names."""
TILES: dict[str, tuple[int, ...]] = {
    "tuning": tuple(k for k in range(10) if k not in (4, 7)),
    "calibration": tuple(k for k in (*range(10, 20), *range(32, 40)) if k not in (13, 34, 37)),
    "test": tuple(range(20, 32)),
}
FLIGHTS = {"boruszyn": "training", "caliterra": "training", "seneca": "training", "garfield": "test"}
DUNES = {"copr_x4_IMG_0031": "tuning", "copr_x4_IMG_0058": "tuning", "copr_x4_IMG_0082": "tuning"} | {
    f"copr_x4_IMG_{k}": "calibration" for k in ("0106", "0133")
}
SHOWN = ("garfield_x4_IMG_161122_163234_0000_RGB", "garfield_x4_IMG_161122_164703_0136_RGB")
"""The frames of the test flight that benchmarks take; the others overlap with them."""
SPARED = (
    "agricultural67", "airplane34", "buildings61", "harbor47", "harbor68", "intersection26", "intersection62", "mediumresidential23",
    "mediumresidential60", "overpass15", "overpass57", "parkinglot26", "parkinglot56", "river16", "runway19", "runway72",
    "sparseresidential62", "tenniscourt35",
)  # fmt: skip
"""Every eighth tile of 0.3 m."""
_LAST_PHOTOGRAPHS = "388006"
"""The first of the last 40 of BSDS500's folder "test", in the order of their names."""


def use_of(name: str) -> str | None:
    """What an image, named from the data folder, is for: one of `USES`, "" for none, None for an image that is not of the data."""
    path = PurePosixPath(name)
    folder, stem = path.parent.as_posix(), path.stem
    if folder.startswith(NAIP):
        if folder != f"{NAIP}/val":
            return "training"
        place = stem.removeprefix("riverside_")
        number = PLACES.index(place) if place in PLACES else -1
        return next((use for use, numbers in TILES.items() if number in numbers), "")
    if folder == USGS:
        return "test" if stem in SPARED else "training"
    if folder.startswith(FRAMES):
        return DUNES.get(stem, "") if folder.endswith("val") else FLIGHTS.get(stem.split("_")[0], "")
    if folder == KODAK:
        return "tuning" if stem <= "08" else "test"
    if folder.startswith(BSDS):
        return "calibration" if folder.endswith("test") and stem >= _LAST_PHOTOGRAPHS else "training"
    return "test" if folder.split("/")[0] in FOLDERS[-4:] else None


def found(data: Path, pattern: str, use: str) -> list[Path]:
    """Images of the data folder that match a pattern and are for a use, in the order of their names."""
    if use not in USES:
        raise ValueError(f"{use!r} is no use of images; there are {', '.join(USES)}")
    return [p for p in sorted(data.glob(pattern)) if use_of(p.relative_to(data).as_posix()) == use]


def tiles(data: Path, use: str, bands: int = 1, part: slice = ALL) -> Scenes:
    """NAIP tiles of 0.6 m, a part of those of a use; of training the 420 of five cities."""
    paths = found(data, f"{NAIP}/{'train' if use == 'training' else 'val'}/*.webp", use)
    numbers = TILES.get(use, range(len(paths)))
    return {f"tile {k}": chosen(read_image(p), bands) / 255 for k, p in list(zip(numbers, paths, strict=True))[part]}


def fine(data: Path, use: str, bands: int = 1, part: slice = ALL) -> Scenes:
    """USGS tiles of 0.3 m, whose test tiles models of the split "former" have seen; they have no fourth band."""
    paths = found(data, f"{USGS}/*.webp", use) if bands <= 3 else []
    return {f"fine {k}": middle(chosen(read_image(p), bands) / 255, 256) for k, p in list(enumerate(paths))[part]}


def frames(data: Path, use: str, bands: int = 1, side: int = 512 + 2 * MARGIN) -> Scenes:
    """Middles of drone frames in linear light; they have no fourth band."""
    paths = found(data, f"{FRAMES}/*/*.tif", use) if bands <= 3 else []
    shown = [p for p in paths if use != "test" or p.stem in SHOWN]
    return {f"frame {k}": np.ascontiguousarray(middle(chosen(read_image(p), bands) / FULL, side)) for k, p in enumerate(shown)}


def photographs(data: Path, use: str, kind: str, *, in_grey: bool = False, part: slice = ALL) -> Scenes:
    """Photographs: of the kind "kodak", for tuning and test, or "bsd", grey ones for test and those of BSDS500 for the other uses."""
    patterns = {"kodak": [f"{KODAK}/*.png"], "bsd": [f"{BSDS}/*/*.jpg", f"{BSD68}/*.png"]}[kind]
    paths = [p for pattern in patterns for p in found(data, pattern, use)]
    return {f"{kind} {p.stem.lstrip('0')}": _photograph(read_image(p), in_grey) for p in paths[part]}


def _photograph(image: Array, in_grey: bool) -> Array:
    return grey(image).numpy()[None] if in_grey else image.astype(np.float32) / np.float32(255)


def superres_set(data: Path, name: str) -> list[Path]:
    """Images of a usual test set of super-resolution, ``"Set5"`` or ``"Set14"``."""
    return found(data, f"sr_test/{name}/*.png", "test")


def training_sets(data: Path) -> dict[str, list[Array]]:
    """Integers of the tiles that priors are trained on, by the name of their set."""
    return {s: [read_image(p) for p in found(data, f"{s}/train/*.webp", "training")] for s in (NAIP, USGS.split("/")[0])}


def of_split(data: Path, use: str, bands: int = 1) -> Scenes:
    """Tiles, two of them at a fifth of their brightness, two squared, frames, and of tests also tiles of 0.3 m."""
    plain = tiles(data, use, bands)
    first = [name.split()[1] for name in plain][:4]
    dark = {f"dark {k}": np.float32(0.2) * plain[f"tile {k}"] for k in first[0::2]}
    linear = {f"linear {k}": plain[f"tile {k}"] ** 2 for k in first[1::2]}
    return plain | dark | linear | frames(data, use, bands) | (fine(data, use, bands, slice(6)) if use == "test" else {})


def for_training(sources: Sequence[Path], bands: int) -> list[Array]:
    """Integers of all aerial images that are for training and have enough bands; frames, which are rare, come three times.

    ``sources`` are the data folder, or the parts of a packed training set.
    """
    patterns = (f"{NAIP}/train/*.webp", f"{NAIP}/more/*.webp", f"{USGS}/*.webp", *3 * (f"{FRAMES}/train/*.tif",))
    names = applied({"train": patterns, "validation": ()}, sources)["train"]
    return [image for image in find_images(sources, names) if len(image) >= bands]


def applied(recipe: Mapping[str, Any], sources: Sequence[Path]) -> dict[str, Any]:
    """A recipe's ``[data]`` with names in place of patterns: of ``train`` what is for training, of ``validation`` what is for tuning.

    Images of other folders than those of the split are all taken.

    Parameters
    ----------
    recipe : mapping
        The table ``[data]``, whose patterns start from the data folder.
    sources : sequence of Path
        The data folder, or the parts of a packed training set.

    Raises
    ------
    FileNotFoundError
        When a pattern matches nothing, or nothing of that use.
    """
    names = [name for source in sources for name in _names(source)]
    taken = dict(recipe)
    for key, use in (("train", "training"), ("validation", "tuning")):
        taken[key] = []
        for pattern in recipe[key]:
            matching = _matching(sources, names, pattern)
            kept = [name for name in matching if use_of(name) in (use, None)]
            if not kept:
                raise FileNotFoundError(f"no image for {use} matches {pattern} in {', '.join(map(str, sources))}")
            taken[key] += kept
    return taken


def _names(source: Path) -> list[str]:
    """Of the images in a part of a packed training set; none of a folder."""
    if source.is_dir():
        return []
    with np.load(source, allow_pickle=False) as pack:
        return sorted(pack.files)


def _matching(sources: Sequence[Path], packed: Sequence[str], pattern: str) -> list[str]:
    of_folders = [p.relative_to(s).as_posix() for s in sources if s.is_dir() for p in sorted(s.glob(pattern))]
    return of_folders + [name for name in packed if fnmatchcase(name, pattern)]


def noted(recipe: Mapping[str, Any]) -> dict[str, float | str]:
    """What a release says of the split that it was trained by; nothing where all images are the user's own."""
    known = any(pattern.split("/")[0] in FOLDERS for key in ("train", "validation") for pattern in recipe[key])
    return {"split": NAME} if known else {}
