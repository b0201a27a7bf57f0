"""Reading metadata files: XML without its namespaces, and the keys of Landsat's text files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from imaging.errors import InputError


class Metadata:
    """An element of an XML file and what is below it, asked for by names without namespaces.

    Parameters
    ----------
    path : Path
        File, named in messages.
    element : Element, optional
        The root by default.

    Raises
    ------
    InputError
        When the file is no XML.
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
        """Of the element."""
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
        """Text of the first element of a name that has one.

        Raises
        ------
        InputError
            When there is none and no default.
        """
        for found in self.all(name):
            if found.content:
                return found.content
        if default is None:
            raise InputError(f"{self.path} has no {name}")
        return default

    def number(self, name: str, default: float | None = None) -> float:
        """The same as a number."""
        text = self.text(name, None if default is None else str(default))
        return self._number(name, text)

    def _number(self, name: str, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise InputError(f"{self.path}: {name} is {text!r}; accepted: a number") from error

    def numbers(self, name: str, key: str) -> dict[str, float]:
        """Numbers of all elements of a name by one of their attributes."""
        return {found.attribute(key): self._number(name, found.content) for found in self.all(name) if found.content}


def read_keys(path: Path) -> dict[str, dict[str, str]]:
    """``KEY = value`` lines of a text file by their innermost ``GROUP``, quotes removed.

    Raises
    ------
    InputError
        When the file cannot be read.
    """
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
