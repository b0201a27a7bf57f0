"""What a new user sees first: the help, and what is said of a command line that is not one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from imaging.cli.help import SECTIONS
from imaging.cli.restore import main, rio_restore
from imaging.cli.superres import main as superres
from tests.cli.commands import invoke, sentence
from tests.scenes import listing, smooth, write_scene

COMMANDS = {"imaging-restore": main, "imaging-superres": superres, "rio restore": rio_restore}
command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
ALL = [name for names in SECTIONS.values() for name in names]


def longest(parameter: click.Parameter) -> str:
    """The name that help and sections go by."""
    return max(parameter.opts, key=len)


@command
def test_every_option_is_in_one_section_of_the_help(command: click.Command) -> None:
    text = invoke("--help", command=command).stdout
    options = [p for p in command.get_params(click.Context(command)) if isinstance(p, click.Option)]
    assert {longest(p) for p in options} <= set(ALL)
    assert "Further options" not in text
    shown = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE)
    assert sorted(shown) == sorted(longest(p) for p in options), "each is shown, and once"
    assert shown == [n for n in ALL if n in shown], "in the order of the sections"
    titles = re.findall(r"^([A-Z][\w ]+):$", text, re.MULTILINE)
    assert titles[: len(SECTIONS)] == [t for t in SECTIONS if t in titles]
    assert titles[0] == "Input and output"


def test_no_option_is_in_two_sections() -> None:
    assert len(ALL) == len(set(ALL))
    known = {longest(p) for c in COMMANDS.values() for p in c.get_params(click.Context(c))}
    assert set(ALL) - known <= {"--report", "--quicklook"}


@command
def test_every_option_has_help(command: click.Command) -> None:
    assert all(p.help for p in command.params if isinstance(p, click.Option))


@pytest.mark.parametrize(("program", "command"), [(n, c) for n, c in COMMANDS.items() if c.epilog])
def test_examples_can_be_parsed(program: str, command: click.Command) -> None:
    lines = [line.strip() for line in str(command.epilog).splitlines()[2:]]
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(re.split(r"  +", line)[0])
        assert words[0] == program
        command.make_context(program, words[1:])


def test_an_option_without_a_section_comes_last() -> None:
    from imaging.cli.help import SectionedCommand

    new = SectionedCommand("new", params=[click.Option(["--new"], help="Something."), click.Option(["--input"], help="A scene.")])
    text = invoke("--help", command=new).stdout
    assert [m for m in re.findall(r"--\w+", text) if m != "--help"] == ["--input", "--new"]
    assert text.index("Further options:") > text.index("Information:")


@pytest.mark.parametrize(
    ("command", "line", "said"),
    [
        (main, "", "Missing option '--input'. Name a scene and its sensor: --input scene.tif --sensor pleiades"),
        (main, "scene.tif", "Got unexpected extra argument (scene.tif). Names go with their options: --input SCENE --output FILE."),
        (superres, "", "Missing option '--input'"),
        (superres, "scene.tif x.tif --input a.tif", "Names go with their options"),
        (rio_restore, "a.tif", "Missing argument 'OUTPUT'"),
        (rio_restore, "a.tif b.tif c.tif", "There is one INPUT and one OUTPUT, in this order"),
        (main, "--inptu scene.tif", "Did you mean '?--input"),
        (main, "--input scene.tif --sensr pleiades", "--sensor"),
        (main, "--input ''", "the name is empty; a variable of the shell may be unset"),
        (main, "--input a.tif --batch many", "'many' is neither auto nor a number of tiles"),
        (main, "--input a.tif --bands a", "'a' is not a list of band numbers such as 1,2"),
        (main, "--input a.tif --noise x", "'x' is none of profile, estimate, or two numbers SIGMA0,GAIN such as 6,0.09"),
    ],
)
def test_command_lines_that_cannot_be_parsed(command: click.Command, line: str, said: str) -> None:
    result = invoke(*shlex.split(line), command=command)
    assert result.exit_code == 2
    assert result.stdout == ""
    usage, hint, *rest = result.stderr.splitlines()
    assert usage.startswith("Usage: ")
    assert hint.endswith("--help' for help.")
    assert re.search(said if "?" in said else re.escape(said), " ".join(rest))


def test_an_option_without_its_value() -> None:
    assert sentence(invoke("--input")) == "Option '--input' requires an argument."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a scene."""
    write_scene(tmp_path / "scene.tif", smooth(1, 64, 64).astype(np.uint16))
    (tmp_path / "table.csv").write_text("input\nscene.tif\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--input sceen.tif --sensor pleiades-raw", "sceen.tif does not exist; did you mean scene.tif?"),
        ("--input nothing.jp2 --sensor pleiades-raw", "nothing.jp2 does not exist"),
        ("--input tabel.csv --sensor pleiades-raw --output out", "tabel.csv does not exist; did you mean table.csv?"),
        ("--input scene.tif --sensor tabl.toml", "sensor file tabl.toml does not exist"),
        ("--input table.csv --sensor pleiades-raw", "table.csv names several scenes"),
        (
            "--input scene.tif --sensor pleiades-raw --output out.png",
            "the output out.png would be a GeoTIFF; give it a name that ends in .tif",
        ),
        ("--input scene.tif --sensor pleiades-raw --std std", "the output std would be a GeoTIFF; give it a name that ends in .tif"),
        (
            "--input scene.tif --sensor pleiades-raw --method wcrr --prior pan",
            "pan is a prior and no learned regulariser; choose --method vble-xz with it, or leave --prior away",
        ),
        (
            "--input scene.tif --sensor pleiades-raw --prior foe-bsd",
            "foe-bsd is a learned regulariser and no prior; choose --method foe with it",
        ),
        ("--input . --sensor pleiades-raw --output out --prior pann", "unknown prior 'pann'; did you mean pan?"),
        ("--input . --sensor pleiades-raw --output out --device gpu", "device is 'gpu'; accepted are auto, cpu and cuda"),
        ("--input . --sensor pleiades-rwa --output out", "unknown sensor 'pleiades-rwa'; did you mean pleiades-raw?"),
        ("--input . --sensor pleiades-raw --output scene.tif", "the output scene.tif is a file; for several scenes give a folder"),
        ("--describe-sensor sentinel", "unknown sensor 'sentinel'; did you mean sentinel2?"),
    ],
)
def test_one_sentence_with_what_to_try(folder: Path, line: str, said: str) -> None:
    before = listing(folder)
    assert sentence(invoke(*shlex.split(line))).startswith(said)
    assert listing(folder) == before, "nothing is written"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--input scene.tif --model quantnas-x", "unknown super-resolution model 'quantnas-x'; did you mean quantnas-x"),
        ("--input scene.tif --scale 3", "the scale is 3; accepted are 2 and 4"),
        ("--input scene.tif --model quantnas-x2 --scale 4", "model quantnas-x2 is for scale 2, not 4; give --scale 2"),
        ("--input scene.tif --precision int4", "precision is 'int4'; accepted are int8, float32"),
        ("--input scene.tif --device gpu", "device is 'gpu'; accepted are cpu, cuda, tensorrt"),
        ("--input scene.tif --range -1", "the range is -1.0; accepted are numbers above 0"),
        ("--input scene.tif --threads 0", "threads is 0; accepted are integers from 1"),
        ("--input sceen.tif", "sceen.tif does not exist; did you mean scene.tif?"),
        ("--input scene.tif --output fine.jpg", "the output fine.jpg would be a GeoTIFF"),
    ],
)
def test_one_sentence_of_super_resolution(folder: Path, line: str, said: str) -> None:
    pytest.importorskip("onnxruntime")
    before = listing(folder)
    assert sentence(invoke(*shlex.split(line), command=superres)).startswith(said)
    assert listing(folder) == before


def test_the_module_names_itself_and_shows_the_same_help() -> None:
    done = subprocess.run([sys.executable, "-m", "imaging", "--help"], capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first == "Usage: python -m imaging [OPTIONS]"
    assert "Input and output:" in rest
    assert done.stderr == ""


def test_importing_the_module_runs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", "import imaging.__main__"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
