"""What README and the pages of docs/ show: blocks of code, shell lines, commands and options in running text."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "tutorials" / "README.md"]
COMMANDS = ("imaging-restore", "imaging-superres", "rio restore")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Line:
    """A command of a page: the program, its arguments, and whether it stands alone or in running text, where it may be a part."""

    page: str
    program: str
    arguments: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.program} {' '.join(self.arguments)}"


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def fenced(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return [code for found, code in _FENCED.findall(page.read_text(encoding="utf-8")) if found == language]


def languages(page: Path) -> set[str]:
    """Languages of all fenced blocks."""
    return {found for found, _ in _FENCED.findall(page.read_text(encoding="utf-8"))}


def indented(page: Path) -> list[list[str]]:
    """Indented blocks as lines, those of lists and fenced ones left out."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"(?:(?<=\n\n)|^)((?:    \S.*\n?| {6,}\S.*\n?)+)", text)
    return [[line.strip() for line in block.splitlines()] for block in blocks]


def spans(page: Path) -> list[str]:
    """Code in running text, line breaks taken for blanks."""
    return [" ".join(s.split()) for s in _SPAN.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))]


def parsed(page: str, text: str, *, whole: bool) -> list[Line]:
    """Commands of one shell line."""
    found = []
    text = re.sub(r'^eval "\$\((.*?)\)"', r"\1", text)
    for part in re.split(r"\s+#\s.*$|&&", text):
        words = shlex.split(part or "")
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        words = [w.removeprefix(".venv/bin/") for w in words]
        if not words:
            continue
        python = words[1:3] if words[0] == "python" else []
        module = python[:1] == ["-m"] and python[1].startswith("scripts.")
        count = 3 if module else 2 if words[0] in {"rio", "dask"} or (python and python[0].endswith(".py")) else 1
        found.append(Line(page, " ".join(words[:count]), tuple(words[count:]), whole))
    return found


def lines() -> list[Line]:
    """All commands of all pages, each once."""
    found: list[Line] = []
    for page in PAGES:
        for block in indented(page):
            if not block[0].startswith("input,"):
                for text in block:
                    found += parsed(name(page), text, whole=True)
        for span in spans(page):
            if span.startswith((*(f"{c} -" for c in COMMANDS), "python -m scripts.", "mkdocs ")):
                found += parsed(name(page), span, whole=False)
    return list(dict.fromkeys(found))


def options() -> set[tuple[str, str]]:
    """Options in running text, with their pages."""
    found = set()
    for page in PAGES:
        for span in spans(page):
            match = re.match(r"--[a-z][a-z0-9-]*(?=$|[ =])", span)
            if match:
                found.add((name(page), match[0]))
    return found
