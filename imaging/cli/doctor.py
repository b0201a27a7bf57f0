"""``imaging-restore --doctor``: does this installation work, and what to do where it does not."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict

import click

from imaging.cli.checks import FAILED, OK, WARNING, Check, all_checks
from imaging.errors import one_line

_COLOURS = {OK: "green", WARNING: "yellow", FAILED: "red"}


def examine() -> Iterator[Check]:
    """The checks one by one; one that cannot be done fails, and the others go on."""
    for name, look, advice in all_checks():
        try:
            found = look()
            yield from [found] if isinstance(found, Check) else found
        except Exception as error:
            yield Check(name, FAILED, f"{type(error).__name__}: {one_line(error)}", advice)


def run_doctor(*, as_json: bool = False) -> None:
    """Print what the checks find; exits with 1 where something failed.

    Parameters
    ----------
    as_json : bool
        One JSON object at the end instead of a line for each.
    """
    began, found = time.monotonic(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' own, while they are imported
        for check in examine():
            found.append(check)
            if not as_json:
                _say(check)
    failed, warned = (sum(c.status == s for c in found) for s in (FAILED, WARNING))
    seconds = time.monotonic() - began
    if as_json:
        status = FAILED if failed else WARNING if warned else OK
        click.echo(json.dumps({"status": status, "seconds": round(seconds, 1), "checks": [asdict(c) for c in found]}))
    else:
        click.echo(f"{len(found)} checks, {warned} warning(s), {failed} failed, {seconds:.0f} s")
    if failed:
        sys.exit(1)


def _say(check: Check) -> None:
    click.echo(f"{click.style(check.status.ljust(7), fg=_COLOURS[check.status])}  {check.name:22s}  {check.message}")
    if check.advice:
        click.echo(f"{'':33s}-> {check.advice}")
