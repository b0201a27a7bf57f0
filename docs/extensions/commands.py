"""MkDocs hook: the help of a command, as it prints it, in place of a line ``HELP OF name``."""

from __future__ import annotations

import html
import re
from importlib import import_module
from typing import Any

import click

_COMMANDS = {
    "imaging-restore": ("imaging.cli.restore", "main"),
    "imaging-superres": ("imaging.cli.superres", "main"),
    "rio restore": ("imaging.cli.restore", "rio_restore"),
}
_LINE = re.compile(r"^HELP OF (.+)$", re.MULTILINE)


def text_of(name: str) -> str:
    """What ``name --help`` prints."""
    module, attribute = _COMMANDS[name]
    command: click.Command = getattr(import_module(module), attribute)
    return command.get_help(click.Context(command, info_name=name, terminal_width=100, max_content_width=100))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help texts into a page."""
    return _LINE.sub(lambda found: f"<pre><code>{html.escape(text_of(found[1]), quote=False)}</code></pre>", markdown)
