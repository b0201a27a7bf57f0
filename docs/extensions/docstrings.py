"""Griffe extension: equations of docstrings, written for Sphinx, in the way of the pages here."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_INLINE = re.compile(r":math:`([^`]+)`")
_BLOCK = re.compile(r"^( *)\.\. math::[ ]*(.*)\n((?:\1 +.*\n?|[ ]*\n)*)", re.MULTILINE)


def _block(match: re.Match[str]) -> str:
    lines = f"{match[2]}\n{textwrap.dedent(match[3])}".strip()
    joined = " ".join(line.strip() for line in lines.splitlines() if line.strip())
    return f"\n{match[1]}$$\n{match[1]}{joined.rstrip(':')}\n{match[1]}$$\n\n"


def converted(text: str) -> str:
    """A docstring whose equations stand between dollars."""
    return _INLINE.sub(lambda m: f"${' '.join(m[1].split())}$", _BLOCK.sub(_block, text + "\n")).rstrip("\n")


class Equations(griffe.Extension):
    """Converts each docstring once it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert one docstring."""
        if obj.docstring:
            obj.docstring.value = converted(obj.docstring.value)
