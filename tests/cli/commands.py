"""Running commands in tests."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from imaging.cli.restore import main


def invoke(*arguments: object, command: click.Command = main) -> Result:
    """Run a command with standard error kept apart."""
    apart: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}  # click before 8.2
    return CliRunner(**apart).invoke(command, [str(a) for a in arguments])


def restore(scene: Path, prior: Path, *arguments: object) -> Result:
    """Restore a small scene of the PAN of Pleiades with very few iterations; later options replace earlier ones."""
    few = ("--prior", prior, "--iterations", 2, "--tile", 64, "--halo", 16)
    return invoke("--input", scene, "--sensor", "pleiades-raw", *few, *arguments)


def sentence(result: Result, code: int = 2) -> str:
    """What the one line on standard error says, after checking that there is nothing else."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.removeprefix("Error: ").rstrip("\n")
