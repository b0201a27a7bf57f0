r"""MkDocs hook: equations become MathML at the build, so that pages need neither scripts nor fonts from elsewhere.

``pymdownx.arithmatex`` finds the equations, latex2mathml converts them. ``\tag{n}`` at the end of a displayed equation is its number, and
the equation gets the anchor ``eq-n``.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FOUND = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
_TAG = re.compile(r"\\tag\{(\w+)\}")
_FUNCTION = re.compile(r"\\(log|exp|ln|cos)(?=\s*[A-Za-z\\])")
_ARG = re.compile(r"\\arg(?![a-z])")


def mathml(source: str, *, display: bool) -> str:
    """MathML of an equation in LaTeX."""
    spaced = _FUNCTION.sub(r"\\\1\\,", _ARG.sub(r"\\operatorname{arg}", source))
    found: str = convert(spaced, display="block" if display else "inline")
    wrong = re.search(r"<m(?:i|text)>\\+\w*", found)  # commands that the converter does not know come back as text
    if wrong or "<mi>&</mi>" in found:
        raise ValueError(f"the equation {source!r} holds a command that cannot be converted")
    return found


def _replaced(match: re.Match[str]) -> str:
    source = html.unescape(match[2]).strip()
    display = source.startswith(r"\[")
    source = source[2:-2].strip()
    tag = _TAG.search(source)
    found = mathml(_TAG.sub("", source).strip(), display=display)
    if not display:
        return found
    number = f'<span class="number">({tag[1]})</span>' if tag else ""
    anchor = f' id="eq-{tag[1]}"' if tag else ""
    return f'<div class="equation"{anchor}>{found}{number}</div>'


def on_page_content(content: str, **_: Any) -> str:
    """Convert the equations of a page."""
    return _FOUND.sub(_replaced, content)
