"""Help in sections: what matters first comes first."""

from __future__ import annotations

from typing import Any

import click

SECTIONS: dict[str, tuple[str, ...]] = {
    "Input and output": (
        "--input", "--output", "--std", "--no-uncertainty", "--bands", "--report", "--quicklook", "--overwrite", "--resume", "--dry-run",
        "--reference",
    ),
    "Sensor": ("--sensor", "--list-sensors", "--describe-sensor", "--noise", "--mtf-nyquist"),
    "Panchromatic and multispectral bands": ("--pan", "--pansharpen", "--pan-weights", "--pan-shift"),
    "Method": (
        "--method", "--no-fallback", "--prior", "--list-priors", "--model", "--list-models", "--scale", "--precision", "--range",
        "--iterations", "--samples", "--save-samples", "--rate-scale", "--weight", "--uncalibrated", "--seed", "--download",
    ),
    "Speed and memory": ("--device", "--threads", "--tile", "--halo", "--batch"),
    "Several scenes": ("--workers", "--shard", "--scheduler", "--log"),
    "Information": ("--json", "--quiet", "--verbose", "--doctor", "--show-completion", "--version", "--help"),
}  # fmt: skip
"""Options by section, in the order that the help shows them."""
_FIRST_COLUMN = 30


class SectionedCommand(click.Command):
    """A command whose help shows its options in `SECTIONS`; an option that is in none comes at the end.

    Parameters
    ----------
    hint : str
        What to try where something is given that is no option's.
    """

    def __init__(self, *arguments: Any, hint: str = "", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.hint = hint

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with a hint where too much is given."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if type(error) is not click.UsageError:  # its subclasses are about options
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}. {self.hint}", ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        records: dict[str, tuple[str, str]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                records[max(parameter.opts, key=len)] = record
        for title, names in SECTIONS.items():
            _write(formatter, title, [records.pop(n) for n in names if n in records])
        _write(formatter, "Further options", list(records.values()))


def _write(formatter: click.HelpFormatter, title: str, rows: list[tuple[str, str]]) -> None:
    """A section, its second column where that of every other section is."""
    if rows:
        with formatter.section(title):
            formatter.write_dl([(first.ljust(_FIRST_COLUMN), text) for first, text in rows], col_max=_FIRST_COLUMN)


def examples(command: str, lines: dict[str, str]) -> str:
    """Text for the end of the help: command lines, and what each does.

    Parameters
    ----------
    command : str
        Name of the program.
    lines : dict
        Arguments, and what they do.
    """
    width = max(map(len, lines))
    return "\b\nExamples:\n" + "\n".join(f"  {command} {arguments.ljust(width)}  {what}" for arguments, what in lines.items())
