"""Options that commands share, written once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from imaging.cli import completion
from imaging.cli.help import SectionedCommand
from imaging.cli.parameters import PATH, Bands

Option = Callable[[Any], Any]
LOOK: dict[str, Any] = {"cls": SectionedCommand, "context_settings": {"max_content_width": 110}}
"""What commands with sections in their help are made with."""
HINT = "Names go with their options: --input SCENE --output FILE."


def choice(name: str, accepted: Iterable[str | int], text: str, **more: Any) -> Option:
    """An option that takes one of some words or numbers; a default is shown."""
    words = tuple(map(str, accepted))
    kind = int if words[0].isdecimal() else str
    complete = completion.one_of(words)
    return click.option(
        name, type=kind, metavar="|".join(words), shell_complete=complete, help=text, show_default="default" in more, **more
    )


def number(name: str, metavar: str, text: str, kind: type = float, **more: Any) -> Option:
    """An option that takes a number."""
    return click.option(name, type=kind, metavar=metavar, help=text, **more)


RUNNING: list[Option] = [
    click.option("--overwrite", is_flag=True, help="Replace existing outputs."),
    click.option("--resume", is_flag=True, help="Take over finished tiles of an interrupted run."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="No progress, no summary."),
    click.option("-v", "--verbose", is_flag=True, help="Also print the settings in force, and errors in full."),
]
"""How a run goes on and what it tells."""
SEVERAL: list[Option] = [
    number(
        "--workers",
        "N",
        "Processes that share several scenes, or the tiles of one that is restored.  [default: one for each GPU, else 1]",
        int,
    ),
    click.option("--shard", metavar="i/n", help="Of several scenes: every n-th from the i-th on, for job arrays."),
    click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask cluster instead."),
    click.option("--log", type=PATH, help="Of several scenes: a line of JSON for each.  [default: archive.jsonl in the output folder]"),
]
"""Who works on several scenes, or on one large one."""


def source_option(verb: str, *, required: bool) -> Option:
    """The option that names what is read; a command that does something else without it refuses by itself."""
    return click.option(
        "--input", "source", type=PATH, metavar="SCENE", required=required,
        help=f"Scene to {verb}, any raster GDAL reads, or a product as delivered (DIMAP, Sentinel-2 SAFE, Landsat); or several: a folder, "
        f"a quoted pattern such as '*.tif', a table in CSV.{'' if required else '  [required]'}",
    )  # fmt: skip


def bands_option(verb: str) -> Option:
    """The option that chooses bands."""
    return click.option("--bands", type=Bands(), help=f"Bands to {verb}, such as 1,2.  [default: all]")


def with_options(*options: Sequence[Option]) -> Callable[[Any], Any]:
    """Decorator: a command with some options, in their order."""

    def decorate(function: Any) -> Any:
        for option in [o for some in options for o in some][::-1]:
            function = option(function)
        return function

    return decorate
