"""Completion in the shell, as click asks for it and as bash shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from imaging.bilevel import list_regularizers
from imaging.bilevel.zoo import REGULARIZERS as KINDS
from imaging.cli import completion
from imaging.cli.restore import main, rio_restore
from imaging.cli.superres import main as superres
from imaging.names import AMORTISED, FUSIONS, METHODS, POSTERIORS, PRECISIONS, PRIOR_FAMILIES, REGULARIZER_FAMILIES
from imaging.priors import list_priors
from imaging.priors.families import FAMILIES
from imaging.restoration.regularized import _SUITED
from imaging.sensors import builtin_sensors
from imaging.superres import list_models
from imaging.superres.runtime import PROVIDERS
from tests.cli.commands import invoke

PROGRAM = """
import sys
import click
from imaging.cli.restore import main
try:
    main(prog_name="imaging-restore")
finally:
    slow = {"torch", "numpy", "rasterio", "deepinv", "scipy"} & set(sys.modules)
    if slow:
        print("slow:", *slow, file=sys.stderr)
"""


def complete(*words: str, command: click.Command = main) -> list[str]:
    """Values that complete the last word."""
    return [item.value for item in asked(*words, command=command) if item.type == "plain"]


def asked(*words: str, command: click.Command = main) -> list[click.shell_completion.CompletionItem]:
    """What click answers for the last word."""
    *before, incomplete = words
    return ShellComplete(command, {}, "imaging-restore", "_IMAGING_RESTORE_COMPLETE").get_completions(before, incomplete)


def test_names_are_those_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words in one place are those that libraries answer to."""
    monkeypatch.chdir(tmp_path)  # where no other TOML files are
    assert complete("--sensor", "") == [*builtin_sensors(), "estimate"]
    assert complete("--describe-sensor", "") == builtin_sensors()
    assert complete("--prior", "") == [p.name for p in list_priors()]
    assert complete("--method", "wcrr", "--prior", "") == [r.name for r in list_regularizers()]
    assert complete("--method", "") == ["auto", *METHODS, "gaussian"]
    assert set(FUSIONS) <= {*METHODS, "gaussian"}
    assert set(PRIOR_FAMILIES) == set(FAMILIES)
    assert set(REGULARIZER_FAMILIES) == set(KINDS)
    assert set(METHODS) == {*_SUITED, *POSTERIORS, AMORTISED}
    assert complete("--model", "", command=superres) == [m.name for m in list_models()]
    assert complete("--device", "", command=superres) == list(PROVIDERS)
    assert complete("--precision", "", command=superres) == list(PRECISIONS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sensor", "pleiades-"], ["pleiades-neo", "pleiades-raw"]),
        (["--sensor", "est"], ["estimate"]),
        (["--sensor=spo"], ["spot6"]),
        (["--method", "v"], ["vble-xz", "vble"]),
        (["--device", "c"], ["cpu", "cuda"]),
        (["--noise", ""], ["profile", "estimate"]),
        (["--scale", ""], ["1", "2"]),
        (["--method", "foe", "--prior", "f"], ["foe", "foe-bsd"]),
        (["--method", "vble", "--prior", "r"], ["rgb", "rgbn"]),
        (["--pan-weights", ""], ["auto"]),
        (["--pan-shift", ""], ["auto", "none"]),
        (["--pan"], ["--pan", "--pansharpen", "--pan-weights", "--pan-shift"]),
        (["--pan", "p.tif", "--method", "vble-xz", "--prior", "r"], ["rgb", "rgbn"]),
        (["--show-completion", ""], ["bash", "zsh", "fish"]),
        (["--over"], ["--overwrite"]),
        (["--input", "scene.tif", "--do"], ["--download", "--doctor"]),
    ],
)
def test_values(words: list[str], expected: list[str]) -> None:
    assert complete(*words) == expected


def test_the_plugin_of_rasterio_completes_the_same() -> None:
    assert complete("a.tif", "b.tif", "--sensor", "pleiades-r", command=rio_restore) == ["pleiades-raw"]


def test_sensor_files_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("spotless.toml", "spotless.txt", "sub/mine.toml"):
        (tmp_path / name).write_text("")
    assert complete("--sensor", "spo") == ["spot6", "spotless.toml"]
    assert complete("--sensor", "sub/m") == ["sub/mine.toml"]
    assert complete("--sensor", f"{tmp_path}/spot") == [f"{tmp_path}/spotless.toml"]
    (item,) = asked("--sensor", "missing/f")
    assert (item.type, item.value) == ("file", "missing/f"), "the shell may know better"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--input", "s"], "file"),
        (["--pan", "p"], "file"),
        (["--output", ""], "file"),
        (["--save-samples", "s"], "dir"),
        (["--prior", "x/"], "dir"),
    ],
)
def test_files_and_folders_are_left_to_the_shell(words: list[str], kind: str) -> None:
    assert [(item.type, item.value) for item in asked(*words)] == [(kind, words[-1])]


def test_a_missing_zoo_is_no_matter_for_the_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("imaging.releases.zoo.zoo_folder", lambda: tmp_path / "missing")
    assert complete("--prior", "") == []
    (tmp_path / "missing" / "x").mkdir(parents=True)
    for name in ("recipe.toml", "weights.safetensors"):
        (tmp_path / "missing" / "x" / name).write_text("no = [recipe")
    assert complete("--prior", "") == []


def _ask(shell: str, line: str) -> subprocess.CompletedProcess[str]:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_IMAGING_RESTORE_COMPLETE": f"{shell}_complete"}
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", PROGRAM], capture_output=True, text=True, check=False, env=os.environ | words
    )  # fmt: skip


def test_completing_loads_no_library_and_warns_of_nothing() -> None:
    for line, expected in (("imaging-restore --sensor wor", "worldview3"), ("imaging-restore --prior vae", "vae-small")):
        done = _ask("bash", line)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"plain,{expected}\n", "")


@pytest.mark.parametrize("shell", completion.SHELLS)
@pytest.mark.parametrize(("command", "program"), [(main, "imaging-restore"), (superres, "imaging-superres")])
def test_scripts_of_the_shells(shell: str, command: click.Command, program: str) -> None:
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version")
    result = invoke("--show-completion", shell, command=command)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert f"_{program.upper().replace('-', '_')}_COMPLETE={shell}_complete" in result.stdout
    assert program in result.stdout
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=result.stdout, text=True, check=True)


def test_another_shell_is_refused() -> None:
    result = invoke("--show-completion", "tcsh")
    assert result.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(tmp_path: Path) -> None:
    """The script, evaluated by bash, which then calls the program for the words of a line."""
    program = tmp_path / "imaging-restore"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o755)
    script = (
        'eval "$(imaging-restore --show-completion bash)"; complete -p imaging-restore >&2; '
        "COMP_WORDS=(imaging-restore --sensor pleiades-); COMP_CWORD=2; _imaging_restore_completion imaging-restore; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=False, env=os.environ | {"PATH": path})
    assert done.stdout.split() == ["pleiades-neo", "pleiades-raw"], done.stderr
    assert done.stderr == "complete -o nosort -F _imaging_restore_completion imaging-restore\n"
