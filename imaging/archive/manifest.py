"""Which scenes an archive consists of: a folder, a pattern, or a table."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import InputError, missing
from imaging.names import SUFFIXES
from imaging.sensors import is_product
from imaging.sensors.products import is_open

_OWN = r"_(restored|std|sample_\d{3}|{what})$"
"""Ends of the names of outputs, which are no input of a further run."""
_COLUMNS = ("input", "output", "sensor", "pan")


@dataclass(frozen=True)
class Entry:
    """One scene of an archive.

    Attributes
    ----------
    input : Path
        The scene.
    output : Path
        Where the restored scene goes.
    sensor : str or None
        Its sensor, where it is not that of the whole archive.
    place : Path
        Of the restored scene below the folder of the outputs.
    error : str or None
        Why it cannot be restored, where that is known already.
    pan : Path or None
        The panchromatic scene that it is fused with.
    """

    input: Path
    output: Path
    sensor: str | None = None
    place: Path = Path("scene.tif")
    error: str | None = None
    pan: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read: the scene, and the panchromatic one where there is one."""
        return (self.input,) if self.pan is None else (self.input, self.pan)

    @property
    def is_product(self) -> bool:
        """Whether it is of a product, whose metadata name the sensor."""
        return all(is_product(p) or (not p.exists() and is_product(p.parent)) for p in self.files)


def is_archive(source: Path, *, whole: bool = False) -> bool:
    """Whether an input names several scenes: a folder, a product of several, a pattern with ``*``, ``?`` or ``[``, or a ``.csv`` table.

    Products that are taken as a ``whole`` are one scene each.
    """
    if is_product(source):
        if whole:
            return False
        from imaging.sensors import product_scenes  # reads rasters, for which a library is loaded

        return len(product_scenes(source)) > 1
    return source.is_dir() or source.suffix.lower() == ".csv" or (not source.exists() and glob.has_magic(str(source)))


def find_entries(source: str | Path, output: str | Path, what: str = "restored", *, whole: bool = False) -> list[Entry]:
    """The scenes of an archive, in the order of their names or of the table.

    Parameters
    ----------
    source : str or Path
        A folder, searched with all folders below it, products as they are delivered among them; a pattern, ``**`` for any folders; or a
        table, CSV with a column ``input`` and perhaps ``output`` (of the restored scene, relative to ``output``), ``sensor`` and ``pan``
        (the panchromatic scene to fuse with), its paths relative to itself. Files named like outputs (``*_restored``, ``*_std``) and hidden
        ones are left out of folders and patterns.
    output : str or Path
        Folder of the outputs, in which folders and patterns are mirrored.
    what : str
        End of the outputs' names, such as ``"x2"``; files named so are no input either.
    whole : bool
        Whether products are one scene each, as a fusion takes them, and not one for each ground sample distance.

    Raises
    ------
    InputError
        When nothing is found, the table cannot be used, two scenes would have one output, or one's output is another's input.
    """
    source, output = Path(source), Path(output)
    if _is_table(source):
        entries = _table(source, output, what)
    else:
        entries = [e for root, p in _found(source, what) for e in _entries(root, p, output, what, whole)]
    if not entries:
        raise InputError(f"{source} names no raster; accepted are products and files ending in {', '.join(SUFFIXES)}")
    check_targets((e, e.output) for e in entries)
    return entries


def check_targets(targets: Iterable[tuple[Entry, Path]]) -> None:
    """Refuse that two scenes write one file, or one a file that another is restored from, by whatever name."""
    pairs = list(targets)
    sources = {os.path.realpath(p): e for e, _ in pairs for p in e.files}
    taken: dict[str, Entry] = {}
    for entry, path in pairs:
        place = os.path.realpath(path)
        other = taken.setdefault(place, entry)
        if other is not entry:
            raise InputError(f"{other.input} and {entry.input} would both write {path}; name their outputs in a table")
        if place in sources and sources[place] is not entry:
            raise InputError(f"{entry.input} would replace {path}, from which another scene is restored; name their outputs in a table")


def _entries(root: Path, path: Path, output: Path, what: str, whole: bool) -> list[Entry]:
    """The scenes of a raster or product, with their place in the output."""
    place = output / path.relative_to(root)
    if not is_product(path):
        return [_entry(path, place.with_name(f"{path.stem}_{what}.tif"), output)]
    folder, stem = (output if path == root else place.parent), path.absolute().stem
    if whole:
        return [_entry(path, folder / f"{stem}_{what}.tif", output)]
    from imaging.sensors import product_scenes

    try:
        scenes = product_scenes(path)
    except InputError as error:  # the others are restored all the same
        return [_entry(path, folder / f"{stem}_{what}.tif", output, str(error))]
    return [_entry(s.path, folder / f"{stem}_{s.name}_{what}.tif", output) for s in scenes]


def _entry(path: Path, target: Path, output: Path, error: str | None = None) -> Entry:
    return Entry(path, target, None, target.relative_to(output), error)


def _found(source: Path, what: str) -> list[tuple[Path, Path]]:
    """Rasters and products, with the folder that their place in the output is counted from."""
    if source.is_dir():
        root, found = source, _below(source)
    else:
        fixed = list(source.parts)
        while fixed and any(glob.has_magic(p) for p in fixed):
            fixed.pop()
        root = Path(*fixed) if fixed else Path()
        found = sorted(Path(p) for p in glob.glob(str(source), recursive=True))
    own = re.compile(_OWN.replace("{what}", re.escape(what)))
    kept = [p for p in found if is_product(p) or (p.suffix.lower() in SUFFIXES and p.is_file() and not own.search(p.stem))]
    return [(root, p) for p in kept if not any(part.startswith(".") for part in p.relative_to(root).parts)]


def _below(folder: Path) -> list[Path]:
    """Files of a folder and those below it, products as wholes."""
    if is_product(folder) and not is_open(folder):
        return [folder]
    own = [folder] if is_product(folder) else []
    inside = sorted(p for p in folder.iterdir() if not own or p.is_dir())
    return own + [found for path in inside for found in (_below(path) if path.is_dir() else [path])]


def _is_table(source: Path) -> bool:
    return source.suffix.lower() == ".csv" and not source.is_dir()


def names_pans(source: Path) -> bool:
    """Whether an input is a table with a column of panchromatic scenes."""
    return _is_table(source) and source.is_file() and "pan" in _rows(source)[1]


def _rows(source: Path) -> tuple[list[dict[str | None, str]], list[str]]:
    """Rows of a table, and its columns, which are known ones."""
    if not source.is_file():
        raise InputError(missing(source))
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source} cannot be read as a table ({error})") from error
    unknown = [c for c in columns if c not in _COLUMNS]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if "input" not in columns or unknown or twice:
        named = f"the column {unknown[0]!r}" if unknown else f"two columns {twice[0]!r}" if twice else "no column 'input'"
        raise InputError(f"{source} has {named}; accepted are input, output, sensor and pan")
    return rows, columns


def _table(source: Path, output: Path, what: str) -> list[Entry]:
    entries = []
    for line, row in enumerate(_rows(source)[0], start=2):
        values = {k: (v or "").strip() for k, v in row.items() if k}
        if not values["input"] or None in row:
            raise InputError(f"line {line} of {source} {'has too many fields' if None in row else 'names no input'}")
        place = source.parent / values["input"]
        target = output / (values.get("output") or f"{place.stem}_{what}.tif")
        below = Path(os.path.relpath(os.path.abspath(target), os.path.abspath(output)))
        if ".." in below.parts:
            raise InputError(f"line {line} of {source} has an output outside of {output}: {values['output']}")
        pan = source.parent / values["pan"] if values.get("pan") else None
        entries.append(Entry(place, target, values.get("sensor") or None, below, pan=pan))
    return entries


def anywhere(sensor: str) -> str:
    """A sensor's name as it is, or the absolute path of its file, which means the same in any process."""
    return str(Path(sensor).absolute()) if Path(sensor).is_file() else sensor


def shard(entries: list[Entry], part: tuple[int, int]) -> list[Entry]:
    """Every n-th scene, from the i-th on, for ``part`` (i, n) with i from 1: what one job of an array restores.

    `InputError` for other parts.
    """
    index, count = part
    if not 1 <= index <= count:
        raise InputError(f"the shard is {index}/{count}; accepted are i/n with i from 1 to n")
    return entries[index - 1 :: count]
