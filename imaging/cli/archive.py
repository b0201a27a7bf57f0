"""``imaging-restore`` for a folder, a pattern or a table of scenes."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging.errors import InputError
from imaging.names import ESTIMATE

if TYPE_CHECKING:
    from imaging.archive import Entry
    from imaging.restoration import RestoreOptions, ScenePaths, SuperResolveOptions

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


def run_archive(
    source: Path, output: Path | None, options: RestoreOptions | SuperResolveOptions, paths: ScenePaths, values: dict[str, Any]
) -> None:
    """Restore many scenes; exits with `FAILED` when some of them failed."""
    from imaging import archive
    from imaging.restoration import RestoreOptions

    for name in ("std", "reference", "report", "quicklook"):
        if values.get(name) is not None:
            raise InputError(f"--{name} is for one scene; {source} names several")
    what = "restored" if isinstance(options, RestoreOptions) else f"x{options.scale}"
    entries = archive.find_entries(source, output or source, what)
    if output is None:
        raise InputError(f"{source} names several scenes; give the folder of their restored scenes with --output")
    if output.exists() and not output.is_dir():
        raise InputError(f"the output {output} is a file; for several scenes give a folder")
    part = parse_shard(values.get("shard"))
    if part is not None:
        entries = archive.shard(entries, part)
    if values["sensor"] is None and any(e.sensor is None and not e.is_product for e in entries):
        raise InputError("a sensor is needed: --sensor NAME or --sensor FILE.toml, or a column sensor in the table")
    if values["dry_run"]:
        _plan(entries, as_json=values["as_json"])
        return
    if isinstance(options, RestoreOptions):
        options.check()
        _check_sensors(entries, values["sensor"])
    else:
        options.resolver()
    name = "archive.jsonl" if part is None else f"archive-{part[0]}-of-{part[1]}.jsonl"
    make, workers = executors(values.get("workers"), values.get("scheduler"))
    output.mkdir(parents=True, exist_ok=True)
    log = values.get("log") or output / name

    number = itertools.count(1)

    def tell(record: dict[str, Any]) -> None:
        what = record.get("error") or record.get("reason") or f"{record['result']['seconds']:.1f} s"
        click.echo(f"[{next(number)}/{len(entries)}] {record['status']:8s} {record['input']}  {what}", err=True)

    report = archive.restore_archive(
        entries, values["sensor"], options, paths, make_executor=make, ahead=2 * workers, log=log,
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


def executors(workers: int | None, address: str | None) -> tuple[Callable[[], Executor], int]:
    """What makes an executor, on this machine or a Dask cluster, and its number of workers."""
    from imaging import archive

    def make() -> tuple[Executor, int]:
        return archive.local_executor(workers) if address is None else archive.scheduler_executor(address)

    executor, count = make()
    first = [executor]
    return (lambda: first.pop() if first else make()[0]), count


def _plan(entries: list[Entry], *, as_json: bool) -> None:
    for entry in entries:
        line = {"input": str(entry.input), "output": str(entry.output), "sensor": entry.sensor, "error": entry.error}
        click.echo(json.dumps(line) if as_json else f"{entry.input} -> {entry.error or entry.output}")


def _check_sensors(entries: list[Entry], sensor: str | None) -> None:
    """Refuse, before the first scene, what is no sensor."""
    from imaging.sensors import load_profile

    for name in dict.fromkeys(e.sensor or sensor for e in entries):
        if name not in {None, ESTIMATE}:
            load_profile(name)
