"""The documentation: what its pages show runs, what they name exists, and they can be built."""

from __future__ import annotations

import argparse
import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import rasterio

import imaging
from imaging.archive import find_entries
from imaging.cli.restore import main as restore
from imaging.cli.restore import rio_restore
from imaging.cli.superres import main as superres
from imaging.names import AMORTISED, REGULARIZERS
from imaging.sensors import load_profile
from tests.cli.commands import invoke
from tests.pages import COMMANDS, PAGES, ROOT, Line, fenced, indented, languages, lines, name, options, parsed
from tests.scenes import write_scene

CLICK: dict[str, click.Command] = dict(zip(COMMANDS, (restore, superres, rio_restore), strict=True))
SMALLER = {
    "README.md": [("samples=4", "samples=1, iterations=1")],
    "docs/report.md": [('output="scene_restored.tif"', 'output="scene_restored.tif", options=imaging.RestoreOptions(iterations=1)')],
    "docs/superres.md": [
        ("[:96, :96]", "[:32, :32]"), ("epochs=20, steps=100", "epochs=2, warmup=1, steps=1"), ("channels=48", "channels=16"),
        ("batch=32, crop=48", "batch=2, crop=16"), ("20_000", "2"), ("2500", "2"), ("range(8)", "range(1)"),
    ],
}  # fmt: skip
"""What is done less of in a test; each must be found in its page."""
ELSEWHERE = re.compile(r"BUNDLE|IMG_|SAFE|compressai:|--prior FOLDER|--sensor estimate(?! --mtf)|--doctor")
"""Commands whose input cannot be made in a moment, or that take some: parsed only."""
QUICK = ("--iterations", "1", "--halo", "16", "--overwrite")
OTHERS = {
    ("python3.11", "-m venv"), ("python", "-m pytest"), ("python docs/tutorials/tutorial_1_restore.py", ""), ("source", "activate"),
    ("uv", "pip install . --torch-backend="), ("ruff", "check ."), ("ruff", "format --check ."), ("mypy", ""), ("mkdocs", "build --strict"),
}  # fmt: skip
"""Programs of others and how their arguments begin."""
OTHER_OPTIONS = {"--index-url", "--wheel-dir", "--no-index", "--find-links", "--torch-backend", "--extra-index-url"}
"""Of pip and uv."""
PIP = {"install torch torchvision --index-url https://download.pytorch.org/whl/cpu", "wheel . --wheel-dir wheels"}
ALL = lines()
OURS = [x for x in ALL if x.program in CLICK]
SCRIPTS = [x for x in ALL if x.program.startswith("python -m scripts.")]


class Cluster:
    """Stands in for dask-jobqueue's, which wants a cluster: takes the settings that it has."""

    scheduler_address = "tcp://127.0.0.1:8786"

    def __init__(
        self, *, cores: int, processes: int, memory: str, walltime: str, job_extra_directives: list[str], worker_extra_args: list[str]
    ) -> None:
        assert cores >= processes

    def adapt(self, *, maximum: int) -> None:
        """As there."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository, and takes what a page writes."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    for folder in ("models", "scripts"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_fenced_blocks_are_of_a_kind_that_is_tested() -> None:
    assert {x for page in PAGES for x in languages(page)} == {"python", "toml"}


@pytest.mark.parametrize("page", [p for p in PAGES if fenced(p, "python")], ids=name)
def test_python_blocks_run(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, in one namespace, as for a reader who copies them."""
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=Cluster))
    code = "\n".join(fenced(page, "python"))
    for old, new in SMALLER.get(name(page), []):
        assert old in code, f"{name(page)} has no {old} any more"
        code = code.replace(old, new)
    names: dict[str, Any] = {}
    exec(compile(code, name(page), "exec"), names)  # our own file
    if page.name == "README.md":
        assert names["restored"].shape == names["std"].shape == (1, 512, 512)
        assert bool((names["std"] > 0).all())
    if page.name == "bilevel.md":
        assert float((names["x"] - names["truth"]).square().mean().sqrt()) < 0.4 * 15 / 255
    if page.name == "superres.md":
        assert names["fine"].shape == (64, 64)
        assert (place / "int8.onnx").exists()


@pytest.mark.parametrize("page", [p for p in PAGES if fenced(p, "toml")], ids=name)
def test_toml_blocks_are_profiles(page: Path, tmp_path: Path) -> None:
    for block in fenced(page, "toml"):
        path = tmp_path / "shown.toml"
        path.write_text(block, encoding="utf-8")
        assert load_profile(path).name == tomllib.loads(block)["name"]


@pytest.mark.parametrize("line", OURS, ids=str)
def test_commands_are_parsed(line: Line) -> None:
    command = CLICK[line.program]
    with click.Context(command, info_name=line.program) as context:
        try:
            if line.whole:
                command.make_context(line.program, list(line.arguments), resilient_parsing=False).close()
            else:
                command.make_parser(context).parse_args(list(line.arguments))
        except click.exceptions.Exit as end:
            if end.exit_code:
                raise


@pytest.fixture
def scenes(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands of the pages name: scenes, folders, a table, a profile; scenes of an archive are restored in this process."""
    monkeypatch.setattr("imaging.archive.local_executor", lambda workers=None: (ThreadPoolExecutor(1), 1))
    with rasterio.open(place / "data" / "pleiades_like_pan.tif") as source:
        pixels = source.read()
    scene, rgb = pixels[:, 60:188, 60:188], pixels[:, :64, :64].repeat(3, 0)
    for shown in ("scene.tif", "archive/2024/tour/PAN.tif", "archive/one.tif"):
        (place / shown).parent.mkdir(parents=True, exist_ok=True)
        write_scene(place / shown, scene if shown == "scene.tif" else scene[:, :64, :64])
    write_scene(place / "rgb.tif", rgb)
    for shown in ("ms", "pan"):
        shutil.copy(place / "data" / f"bundle_{shown}.tif", place / f"{shown}.tif")
    (place / "my-sensor.toml").write_text(fenced(ROOT / "README.md", "toml")[0], encoding="utf-8")
    (place / "samples").mkdir()
    table = shown_table()
    (place / "scenes.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    for row, bands in zip(table[1:], (1, 4), strict=True):
        path = place / row.split(",")[0]
        path.parent.mkdir()
        write_scene(path, pixels[:, :64, :64].repeat(bands, 0))
    return place


def shown_table() -> list[str]:
    """The table of scenes on the page on archives."""
    return next(b for b in indented(ROOT / "docs" / "archives.md") if b[0].startswith("input,"))


@pytest.mark.parametrize("line", list(dict.fromkeys(Line("", x.program, x.arguments, True) for x in OURS if x.whole)), ids=str)
def test_commands_run(line: Line, scenes: Path, tiny_prior: Path) -> None:
    if ELSEWHERE.search(str(line)):
        pytest.skip("its input cannot be made here; parsed only")
    more: list[str] = []
    if line.program == "rio restore" or (line.program == "imaging-restore" and "--input" in line.arguments):
        more = [*QUICK, "--tile", "512"]
        more += [] if {AMORTISED, *REGULARIZERS} & set(line.arguments) else ["--prior", str(tiny_prior)]
        more = [m for m in more if AMORTISED not in line.arguments or m not in QUICK[:2]]
    if "--pan" in line.arguments:
        more = ["--method", "gaussian", "--overwrite"]
    result = invoke(*line.arguments, *more, command=CLICK[line.program])
    assert result.exit_code == 0, result.stderr
    written = {p.relative_to(scenes).as_posix() for p in scenes.rglob("*.tif")}
    if line.program == "imaging-restore" and "scene.tif" in line.arguments and "--dry-run" not in line.arguments:
        assert "scene_restored.tif" in written
        assert ("scene_std.tif" in written) == (not set(REGULARIZERS) & set(line.arguments))
    if "restored/" in line.arguments:
        assert [w for w in written if w.startswith("restored/") and w.endswith("_restored.tif")]


def test_the_table_of_scenes_is_read(scenes: Path) -> None:
    entries = find_entries(scenes / "scenes.csv", scenes / "out")
    assert [(e.sensor, e.error) for e in entries] == [("pleiades", None), ("spot6", None)]
    assert entries[0].output == scenes / "out" / "tour_restored.tif"


class Parsed(Exception):  # noqa: N818
    """The arguments of a script were accepted."""


@pytest.mark.parametrize("line", SCRIPTS, ids=str)
def test_scripts_take_these_arguments(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    module = line.program.removeprefix("python -m ")
    for argument in line.arguments:
        if argument.endswith(".toml") and argument.startswith("models/"):
            assert (ROOT / argument).is_file()

    def accept(parser: argparse.ArgumentParser, arguments: list[str] | None = None) -> argparse.Namespace:
        unknown = parser.parse_known_args(arguments)[1]
        if unknown:
            parser.error(f"unrecognized arguments: {unknown}")
        raise Parsed

    def refuse(parser: argparse.ArgumentParser, message: str) -> None:
        if line.whole or not message.startswith("the following arguments are required"):
            pytest.fail(f"{line}: {message}")
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", accept)
    monkeypatch.setattr(argparse.ArgumentParser, "error", refuse)
    monkeypatch.setattr(sys, "argv", [module, *line.arguments])
    with pytest.raises(Parsed):
        runpy.run_module(module, run_name="__main__")


def test_other_programs_are_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for line in ALL:
        if line in OURS or line in SCRIPTS:
            continue
        if line.program == "pip":
            target = re.fullmatch(r"install (?:-e )?\.(?:\[(\w+)\])?", " ".join(line.arguments))
            assert target or " ".join(line.arguments) in PIP, line
            assert target is None or target[1] is None or target[1] in extras, line
        else:
            assert any(line.program == p and " ".join(line.arguments).startswith(a) for p, a in OTHERS), line


def test_options_in_running_text_exist() -> None:
    known = {o for command in CLICK.values() for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"} | OTHER_OPTIONS
    for script in (ROOT / "scripts").rglob("*.py"):
        known |= set(re.findall(r'(?:add_argument\(|[{,])\s*"(--[a-z-]+)"', script.read_text(encoding="utf-8")))
    assert len({option for _, option in options()} & known) > 20, "they are found"
    assert [(page, option) for page, option in sorted(options()) if option not in known] == []


def test_files_in_running_text_exist() -> None:
    pattern = re.compile(r"`((?:scripts|models|data|tests|imaging|docs)/[\w./-]+)`")
    named = [(name(page), path) for page in PAGES for path in pattern.findall(page.read_text(encoding="utf-8"))]
    assert len(named) > 20, "they are found"
    for page, path in named:
        assert (ROOT / path).exists() or path.startswith(("models/NAME", "docs/images", "docs/results/FILE")), f"{page}: {path}"


def test_the_job_array_is_parsed() -> None:
    text = (ROOT / "scripts" / "examples" / "restore_archive.slurm").read_text(encoding="utf-8")
    command = re.findall(r"^exec (.*)$", text, re.MULTILINE)[0]
    values = {'"$1"': "archive", '"$2"': "restored", '"$3"': "pleiades", '"${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}"': "1/16"}
    for old, new in values.items():
        assert old in command
        command = command.replace(old, new)
    test_commands_are_parsed(parsed("restore_archive.slurm", command, whole=True)[0])


TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("tutorial_*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_tutorials_compile_and_their_commands_are_parsed(path: Path) -> None:
    """They are run by the build of the pages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    compile(tree, path.name, "exec")
    assert (ast.get_docstring(tree) or "").startswith(f"# {path.stem.split('_')[1]}. ")
    assert path.stem in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "run"]
    for call in calls:
        if isinstance(call.args[0], ast.Constant):
            for line in parsed(path.name, f"imaging-restore {call.args[0].value!s}", whole=True):
                test_commands_are_parsed(line)


def test_there_are_nine_tutorials() -> None:
    assert len(TUTORIALS) == 9


def test_each_room_has_a_reference_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    rooms = {p.parent.name for p in (ROOT / "imaging").glob("*/__init__.py")} - {"cli"} | {"metrics"}
    for room in rooms:
        assert f"::: imaging.{room}\n" in (ROOT / "docs" / "reference" / f"{room}.md").read_text(encoding="utf-8")
        assert f"reference/{room}.md" in navigation
    page = (ROOT / "docs" / "reference" / "imaging.md").read_text(encoding="utf-8")
    errors = {n for n in imaging.__all__ if n.endswith("Error")}
    assert [n for n in imaging.__all__ if n not in errors | {"__version__"} and f"`{n}`" not in page] == []


def test_equations_become_mathml(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "extensions"))
    from mathematics import mathml, on_page_content

    page = on_page_content(r'<p>a <span class="arithmatex">\(x &lt; 1\)</span></p><div class="arithmatex">\[\nu = \frac12 \tag{3}\]</div>')
    assert "arithmatex" not in page
    assert '<div class="equation" id="eq-3">' in page
    assert '<span class="number">(3)</span>' in page
    assert "<mfrac>" in page
    with pytest.raises(ValueError, match="cannot be converted"):
        mathml(r"\nosuchcommand x", display=False)


def test_pictures_of_tutorials_lie_beside_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "extensions"))
    from gallery import on_page_content

    assert on_page_content('<img src="images/a.png" srcset="../images/a.png" />') == '<img src="images/a.png" />'
    several = '<img alt="b" src="{}images/mkd_glr_b.png"{} class="c" />'
    assert on_page_content(several.format("../", ",")) == several.format("", "")


def test_equations_of_docstrings_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "extensions"))
    from docstrings import converted

    text = converted("One :math:`a_b`.\n\n.. math:: c\n\n.. math::\n\n    d,\n    e\n\nMore.")
    assert text.split() == "One $a_b$. $$ c $$ $$ d, e $$ More.".split()


def test_the_pages_can_be_built(tmp_path: Path) -> None:
    """Without running the tutorials, and strictly: links, anchors, the reference."""
    for module in ("mkdocs", "material", "mkdocs_gallery", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("generated"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "imaging").symlink_to(ROOT / "imaging")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=tmp_path,
        env=os.environ | {"DOCS_EXECUTE": "false", "NO_MKDOCS_2_WARNING": "1"},   # the theme's, about its own maintenance
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "--save-samples" in (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
    page = (tmp_path / "site" / "reference" / "posterior.html").read_text(encoding="utf-8")
    assert all(f'id="imaging.posterior.{n}"' in page for n in ("VBLE", "LatentPosterior", "FitSettings"))
    outside = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="https?://')
    for path in (tmp_path / "site").rglob("*.html"):
        assert not outside.search(path.read_text(encoding="utf-8")), path
        assert str(ROOT) not in path.read_text(encoding="utf-8"), path


def test_blocks_with_a_typo_fail(place: Path) -> None:
    """What these tests are for."""
    with pytest.raises(click.exceptions.NoSuchOption):
        test_commands_are_parsed(parsed("a page", "imaging-restore --inptu scene.tif", whole=False)[0])
    with pytest.raises(click.exceptions.BadParameter):
        test_commands_are_parsed(parsed("a page", "imaging-restore --input scene.tif --tile wide", whole=True)[0])
    assert [x.program for x in parsed("a page", "pip install . && python -m pytest   # offline", whole=True)] == ["pip", "python"]
