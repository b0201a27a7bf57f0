"""``imaging-restore`` for a folder, a pattern or a table of scenes."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging.errors import InputError

if TYPE_CHECKING:
    from imaging.archive import Entry
    from imaging.restoration import Options, ScenePaths

FAILED = 3
"""Exit code when some scenes failed."""


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """The numbers of ``i/n``."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match:
        raise InputError(f"the shard is {text!r}; accepted are i/n such as 2/10")
    return int(match[1]), int(match[2])


def run_archive(source: Path, output: Path | None, options: Options, paths: ScenePaths, values: dict[str, Any]) -> None:
    """Restore or super-resolve many scenes; exits with `FAILED` when some of them failed."""
    from imaging import archive

    for name in ("std", "reference", "report", "quicklook"):
        if values.get(name) is not None:
            raise InputError(f"--{name} is for one scene; {source} names several")
    if values.get("pan") is not None:
        raise InputError(f"--pan is for one scene; {source} names several: a table has a column pan, products are fused by --pansharpen")
    sensor, part = values.get("sensor"), parse_shard(values.get("shard"))
    entries = archive.entries_of(source, output, options)
    entries = entries if part is None else archive.shard(entries, part)
    if values.get("dry_run"):
        archive.check_archive(entries, sensor, options)
        _plan(entries, as_json=values["as_json"])
        return
    name = "archive.jsonl" if part is None else f"archive-{part[0]}-of-{part[1]}.jsonl"
    log = values.get("log") or (output or source) / name
    number = itertools.count(1)

    def tell(record: dict[str, Any]) -> None:
        what = record.get("error") or record.get("reason") or f"{record['result']['seconds']:.1f} s"
        click.echo(f"[{next(number)}/{len(entries)}] {record['status']:8s} {record['input']}  {what}", err=True)

    report = archive.restore_archive(
        entries, sensor, output=output, options=options, uncertainty=paths.uncertainty, save_samples=paths.save_samples,
        overwrite=paths.overwrite, workers=values.get("workers"), scheduler=values.get("scheduler"), log=log,
        progress=None if values["quiet"] else tell,
    )  # fmt: skip
    counts = {status: report.count(status) for status in ("restored", "skipped", "failed")}
    if values["as_json"]:
        click.echo(json.dumps(counts | {"log": str(log), "failures": report.failures}))
    elif not values["quiet"]:
        click.echo(", ".join(f"{n} {status}" for status, n in counts.items()) + f"; log {log}")
    if report.failures:
        sys.exit(FAILED)


def refuse_for_one(source: Path, values: dict[str, Any], names: Iterable[str]) -> None:
    """Refuse options that only several scenes have."""
    for name in names:
        if values.get(name) is not None:
            raise InputError(f"--{name} is for several scenes; {source} is one")


def _plan(entries: list[Entry], *, as_json: bool) -> None:
    for entry in entries:
        line = {"input": str(entry.input), "output": str(entry.output), "sensor": entry.sensor, "error": entry.error}
        line |= {} if entry.pan is None else {"pan": str(entry.pan)}
        with_pan = "" if entry.pan is None else f" with {entry.pan}"
        click.echo(json.dumps(line) if as_json else f"{entry.input}{with_pan} -> {entry.error or entry.output}")
