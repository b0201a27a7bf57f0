"""What a benchmark measured, as JSON: a line for each record, so that a run can be resumed and the tables of the pages be rendered."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import types
from collections.abc import Callable, Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import imaging
from imaging.releases import digest_of, zoo_folder
from scripts.bench.tables import Record, Records
from scripts.command import ROOT, machine

PUBLISHED = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "models").glob("*/card.md"))]
CODE = ("imaging", "scripts", "models", ":(exclude)models/*/card.md")
"""What figures follow from."""
_TABLE = re.compile(r"(<!-- table: ([\w-]+)/(.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def benchmark(name: str) -> types.ModuleType:
    """A benchmark: ``OPTIONS``, ``run`` and ``tables``, where it draws also ``draw``."""
    return import_module(f"scripts.bench.{name}")


def described(name: str, arguments: argparse.Namespace) -> Record:
    """What is run, where, and by what."""
    given = {k: v for k, v in vars(arguments).items() if not isinstance(v, Path) and k not in {"publish"} and v is not None}
    models = {p.parent.name: digest_of(p)[:12] for p in sorted(zoo_folder().glob("*/weights.safetensors"))}
    return {
        "benchmark": name, "arguments": given, "version": imaging.__version__, "date": date.today().isoformat(),
        "machine": f"{machine()}, {torch.get_num_threads()} threads", "models": models,
    }  # fmt: skip


def git(*arguments: str) -> str | None:
    """What git says of the code here, None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def this_commit() -> str:
    """The commit that runs, with a plus where code or models differ from it; empty outside of a repository."""
    found = git("rev-parse", "--short=12", "HEAD")
    return f"{found}{'+' if git('status', '--porcelain', '--', *CODE) else ''}" if found else ""


class Results:
    """Records of one benchmark and what was run, kept in a file from record to record; an existing file is resumed.

    ``commits`` of the head are pairs of a commit (`this_commit`; empty where it is not known) and how many of the records, one after the
    other, were measured on it.
    """

    def __init__(self, head: Record, path: Path | None = None) -> None:
        self.head, self.path = head, path
        self.records: Records = []
        self.commit = this_commit()
        if path and path.exists():
            before, self.records = load(path)
            self.head = head | {"commits": before.get("commits", [["", len(self.records)]] if self.records else [])}
            if before["benchmark"] != head["benchmark"]:
                raise SystemExit(f"{path} is of the benchmark {before['benchmark']}; choose another --work")

    def once(self, key: Record, action: Callable[..., Mapping[str, Any]], *given: Any) -> Record:
        """The record with a key; where it is missing, what ``action(*given)`` measures now."""
        found = next((r for r in self.records if all(r.get(k) == v for k, v in key.items())), None)
        if found is None:
            found = key | dict(action(*given))
            self.records.append(found)
            self.count()
            self.save()
            shown = [v if isinstance(v, str) else f"{k} {v:.5g}" for k, v in found.items() if isinstance(v, (str, int, float))]
            print("  ".join(shown[:9]), flush=True)
        return found

    def count(self) -> None:
        """Count the last record to the commit that runs."""
        commits = self.head.setdefault("commits", [])
        if not commits or commits[-1][0] != self.commit:
            commits.append([self.commit, 0])
        commits[-1][1] += 1

    def save(self) -> None:
        """Write the file, if there is one."""
        if self.path:
            write(self.path, self.head, self.records)

    def publish(self, name: str) -> None:
        """Write what the pages' tables are rendered from: eight digits, without what begins with an underscore."""
        kept = [{k: rounded(v) for k, v in r.items() if not k.startswith("_")} for r in self.records]
        write(PUBLISHED / f"{name}.json", self.head, kept)


def rounded(value: Any) -> Any:
    """Numbers to eight digits."""
    return [rounded(v) for v in value] if isinstance(value, list) else float(f"{value:.8g}") if isinstance(value, float) else value


def write(path: Path, head: Record, records: Records) -> None:
    """One line a record, their keys once."""
    columns = list(dict.fromkeys(k for r in records for k in r))
    rows = ",\n".join(json.dumps([r.get(c) for c in columns]) for r in records)
    told = json.dumps({k: v for k, v in head.items() if k != "commits"}, indent=1).removesuffix("\n}")
    commits = json.dumps(head.get("commits", []))
    text = f'{told},\n "commits": {commits},\n "columns": {json.dumps(columns)},\n "records": [\n{rows}\n]}}\n'
    path.with_suffix(".tmp").write_text(text, encoding="utf-8")
    path.with_suffix(".tmp").replace(path)


def load(path: Path) -> tuple[Record, Records]:
    """What was run, and the records."""
    head = json.loads(path.read_text(encoding="utf-8"))
    columns, rows = head.pop("columns"), head.pop("records")
    return head, [{k: v for k, v in zip(columns, row, strict=True) if v is not None} for row in rows]


def tables_of(name: str) -> dict[str, str]:
    """Tables of a published file."""
    head, records = load(PUBLISHED / f"{name}.json")
    return dict(benchmark(head["benchmark"]).tables(records))


def rendered(text: str) -> str:
    """A page with its tables between ``<!-- table: FILE/TABLE -->`` and ``<!-- end -->`` written anew."""
    if len(_TABLE.findall(text)) != text.count("<!-- table:"):
        raise SystemExit("a table has no <!-- end -->, or is not named FILE/TABLE")
    return _TABLE.sub(lambda m: f"{m[1]}\n{_table_of(m[2], m[3])}\n\n{m[4]}", text)


def _table_of(name: str, title: str) -> str:
    found = tables_of(name)
    if title not in found:
        raise SystemExit(f"docs/results/{name}.json has no table {title!r}; there are {', '.join(found)}")
    return found[title]


def render_pages() -> None:
    """Write all tables of all pages anew."""
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rendered(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} is written anew")
