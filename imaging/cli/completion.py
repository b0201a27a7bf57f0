"""Completion of options' values in the shell, without loading what takes seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from imaging.errors import ImagingError
from imaging.names import AMORTISED, AUTO, ESTIMATE, REGULARIZERS
from imaging.releases import FUSION_ZOO, NETWORK_ZOO, PRIOR_ZOO, REGULARIZER_ZOO, SUPERRES_ZOO, Zoo

SHELLS = ("bash", "zsh", "fish")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def one_of(values: Iterable[str]) -> Complete:
    """Completes some values."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(v) for v in values if v.startswith(incomplete)]

    return complete


def sensors(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of profiles, ``estimate``, and TOML files."""
    folder = resources.files("imaging") / "sensors" / "profiles"
    names = sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))
    return _named([*names, ESTIMATE], incomplete) + _files(incomplete, ".toml") or _any_path(incomplete)


def sensor_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of profiles and TOML files: what can be described."""
    return [item for item in sensors(_, __, incomplete) if item.value != ESTIMATE]


def priors(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of priors, or of what the method given before is made with, networks of bundles where one is fused, and folders."""
    method = ctx.params.get("method")
    fused = ctx.params.get("pan") is not None or ctx.params.get("pansharpen")
    if method in REGULARIZERS:
        return _models(REGULARIZER_ZOO, incomplete)
    if fused and method in {AMORTISED, AUTO}:
        return _models(FUSION_ZOO, incomplete)
    return _models(NETWORK_ZOO if method == AMORTISED else PRIOR_ZOO, incomplete)


def models(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of super-resolution models, and folders."""
    return _models(SUPERRES_ZOO, incomplete)


def _models(zoo: Zoo, incomplete: str) -> list[CompletionItem]:
    try:
        titles = {m.name: m.title for m in zoo.models()}
    except (ImagingError, OSError):  # a broken installation is not for the shell to tell
        titles = {}
    return _named(titles, incomplete, titles) or [CompletionItem(incomplete, type="dir")]


def _named(names: Iterable[str], incomplete: str, helps: dict[str, str] | None = None) -> list[CompletionItem]:
    return [CompletionItem(n, help=(helps or {}).get(n)) for n in names if n.startswith(incomplete)]


def _files(incomplete: str, suffix: str) -> list[CompletionItem]:
    """Files of the folder that is being typed."""
    folder, _, _ = incomplete.rpartition(os.sep)
    place = Path(folder + os.sep if folder or incomplete.startswith(os.sep) else ".").expanduser()
    prefix = f"{folder}{os.sep}" if os.sep in incomplete else ""
    try:
        found = sorted(f"{prefix}{p.name}" for p in place.iterdir() if p.suffix == suffix)
    except OSError:
        return []
    return _named(found, incomplete)


def _any_path(incomplete: str) -> list[CompletionItem]:
    """What the shell itself knows of files."""
    return [CompletionItem(incomplete, type="file")]


def show_completion(program: str) -> Callable[[Any], Any]:
    """The option that prints the shell's script for a program."""
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"

    def callback(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
        if shell is None or ctx.resilient_parsing:
            return
        kind = get_completion_class(shell)
        assert kind is not None
        click.echo(kind(ctx.command, {}, program, variable).source())
        ctx.exit()

    return click.option(
        "--show-completion", type=click.Choice(SHELLS), is_eager=True, expose_value=False, callback=callback,
        help=f"Show what makes a shell complete options and values; for bash, put 'eval \"$({program} --show-completion bash)\"' "
        "into ~/.bashrc.",
    )  # fmt: skip
