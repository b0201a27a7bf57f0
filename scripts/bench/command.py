"""The benchmarks: measure, keep the results as JSON, print the tables, render those of the pages.

    python -m scripts.bench                     lists them
    python -m scripts.bench NAME --help         tells about one
    python -m scripts.bench NAME --data DATA_FOLDER --work results.json [--publish NAME]
    python -m scripts.bench --render            writes the tables of README, docs/ and the models' cards from docs/results/
    python -m scripts.bench --all --data DATA_FOLDER --work FOLDER [--only NAME ...] [--minutes N]
                                                measures and publishes all files of docs/results (scripts/bench/plan.py)
    python -m scripts.bench --stale             lists them with their commits, and which are of other code than there is

A run with the same --work goes on where it was interrupted. --publish writes docs/results/NAME.json and renders the pages.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from typing import Any

from imaging.priors import DEFAULT_PRIOR
from scripts.bench.plan import PLAN, run_all, states
from scripts.bench.results import Results, benchmark, described, render_pages
from scripts.bench.tables import table
from scripts.command import SAMPLE, command

SHARED: dict[str, dict[str, Any]] = {
    "--data": {"type": Path, "required": True, "help": "folder of the data sets"},
    "--prior": {"default": DEFAULT_PRIOR, "help": "name or folder"},
    "--methods": {"nargs": "+", "help": "only these"},
    "--bands": {"type": int, "default": 1, "choices": [1, 3, 4]},
    "--scenes": {"type": int, "default": 12, "help": "how many of the tiles"},
    "--iterations": {"type": int, "help": "of a fit"},
    "--sample": {"type": Path, "default": SAMPLE, "help": "scene"},
    "--sensor": {"default": "pleiades-raw"},
    "--work": {"type": Path, "help": "JSON file of finished results, or a folder for that and what else is kept"},
    "--picture": {"type": Path, "help": "draw into this file"},
}
"""Options of several benchmarks; those that one takes, and its own, are in its ``OPTIONS``."""


def benchmarks() -> dict[str, str]:
    """Names, and the docstrings' first sentences."""
    docs = {p.stem: ast.get_docstring(ast.parse(p.read_text(encoding="utf-8"))) or "" for p in sorted(Path(__file__).parent.glob("*.py"))}
    return {name: doc.split("\n")[0] for name, doc in docs.items() if f"python -m scripts.bench {name}" in doc}


def parser(name: str) -> argparse.ArgumentParser:
    """Of one benchmark."""
    module = benchmark(name)
    found = command(module.__doc__)
    found.prog = f"python -m scripts.bench {name}"
    for option, settings in ({"--work": {}} | module.OPTIONS).items():
        found.add_argument(option, **SHARED.get(option, {}) | settings)
    found.add_argument("--output", type=Path, help="Markdown file for the tables")
    found.add_argument("--publish", metavar="NAME", help="write docs/results/NAME.json and the tables of the pages")
    return found


def main() -> None:
    """Measure, print, draw, publish."""
    known, given = benchmarks(), sys.argv[1:]
    if not given or given[0] not in known:
        top = command(__doc__)
        top.add_argument("name", nargs="?", choices=known, metavar="NAME")
        top.add_argument("--render", action="store_true", help="write the tables of the pages anew")
        top.add_argument("--stale", action="store_true", help="list the published files and their commits")
        top.add_argument("--all", action="store_true", help="measure and publish all files, two at a time")
        top.add_argument("--only", nargs="+", choices=PLAN, metavar="NAME", default=list(PLAN), help="of --all, only these files")
        top.add_argument("--minutes", type=float, help="of --all, after which runs are ended, to be continued by the same command")
        top.add_argument("--data", type=Path, help="of --all, folder of the data sets")
        top.add_argument("--work", type=Path, help="of --all, folder of finished results")
        a = top.parse_args(given)
        if a.render:
            return render_pages()
        if a.stale:
            return print(table(["file", "date", "commits", "to be printed again"], states()))
        if a.all:
            if not (a.data and a.work):
                top.error("--all wants --data and --work")
            left = run_all(a.data.resolve(), a.work.resolve(), a.only, a.minutes)
            sys.exit(f"not done: {', '.join(left)}" if left else 0)
        return print(__doc__, *(f"{name:<14}{sentence}" for name, sentence in known.items()), sep="\n")
    name, module = given[0], benchmark(given[0])
    arguments = parser(name).parse_args(given[1:])
    path = arguments.work
    if path and path.suffix != ".json":
        path.mkdir(parents=True, exist_ok=True)
        path = path / "results.json"
    results = Results(described(name, arguments), path)
    module.run(arguments, results)
    results.save()
    text = "\n\n".join(f"{title}:\n\n{shown}" for title, shown in module.tables(results.records).items())
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    if getattr(arguments, "picture", None):
        module.draw(results.records, arguments.picture)
    if arguments.publish:
        results.publish(arguments.publish)
        render_pages()
