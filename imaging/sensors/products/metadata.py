"""Reading metadata files: XML without its namespaces, and the keys of Landsat's text files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from imaging.errors import InputError
from imaging.sensors.profile import HUGE

_LONGEST = 255
"""Bytes of a file's name, at most."""


class Metadata:
    """An element of an XML file (its root, if none is given) and what is below it, asked for by names without namespaces.

    The path is named in messages; `InputError` when the file is no XML.
    """

    def __init__(self, path: Path, element: ElementTree.Element | None = None) -> None:
        self.path = path
        if element is None:
            try:
                element = ElementTree.parse(path).getroot()
            except (OSError, ElementTree.ParseError) as error:
                raise InputError(f"{path} cannot be read as XML ({error})") from error
        self.element = element

    @property
    def name(self) -> str:
        """The element's name."""
        return self.element.tag.rpartition("}")[2]

    def attribute(self, name: str) -> str:
        """An attribute's text, empty where it is not there."""
        return self.element.get(name, "").strip()

    def all(self, name: str) -> Iterator[Metadata]:
        """Elements of a name anywhere below."""
        for found in self.element.iter():
            if found is not self.element and found.tag.rpartition("}")[2] == name:
                yield Metadata(self.path, found)

    @property
    def content(self) -> str:
        """Text of the element itself."""
        return (self.element.text or "").strip()

    def text(self, name: str, default: str | None = None) -> str:
        """Text of the first element of a name that has one; `InputError` when there is none and no default."""
        for found in self.all(name):
            if found.content:
                return found.content
        if default is None:
            raise InputError(f"{self.path} has no {name}")
        return default

    def number(self, name: str, default: float | None = None, *, least: float = -HUGE) -> float:
        """What `text` gives, as a finite number not below ``least``."""
        return self._number(name, self.text(name, None if default is None else str(default)), least)

    def _number(self, name: str, text: str, least: float = -HUGE) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= HUGE:
            accepted = "a finite number" if least == -HUGE else f"a finite number from {least:g}"
            raise InputError(f"{self.path}: {name} is {text[:40]!r}; accepted: {accepted}")
        return value

    def numbers(self, name: str, key: str) -> dict[str, float]:
        """Numbers of all elements of a name by one of their attributes."""
        return {found.attribute(key): self._number(name, found.content) for found in self.all(name) if found.content}

    def whole(self, name: str, default: int) -> int:
        """An attribute as a whole number, not negative; the default where it is not there or empty."""
        text = self.attribute(name) or str(default)
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InputError(f"{self.path}: {name} is {text[:40]!r}; accepted: a whole number")
        return int(text)


def file_within(folder: Path, base: Path, name: str) -> Path:
    """A file that metadata name, relative to ``base``; `InputError` for a name that leads out of the product's folder, or is none."""
    path = base / name
    below = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    if not name.strip() or below.split(os.sep)[0] == os.pardir or max(len(os.fsencode(p)) for p in path.parts) > _LONGEST:
        raise InputError(f"the metadata of {folder} name {name[:60]!r}; accepted: a file of the product")
    return path


def moment(date: str, time: str = "") -> str | None:
    """A date and a time of day as one text; None without a date."""
    return "T".join(part.strip() for part in (date, time) if part.strip()) if date.strip() else None


def read_keys(path: Path) -> dict[str, dict[str, str]]:
    """``KEY = value`` lines of a text file by their innermost ``GROUP``, quotes removed; `InputError` when the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    found: dict[str, dict[str, str]] = {}
    groups = [""]
    for match in re.finditer(r'^\s*(\w+)\s*=\s*"?([^"\r\n]*?)"?\s*$', text, re.MULTILINE):
        if match[1] == "GROUP":
            groups.append(match[2])
        elif match[1] == "END_GROUP":
            groups = groups[:-1] or [""]
        else:
            found.setdefault(groups[-1], {}).setdefault(match[1], match[2])
    return found
