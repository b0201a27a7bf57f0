"""The recipe for conda-forge and the Containerfile say what pyproject.toml says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import imaging

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "packaging" / "conda" / "recipe.yaml"
CONTAINERFILE = ROOT / "Containerfile"
if not (RECIPE.exists() and CONTAINERFILE.exists()):
    pytest.skip("not run from the repository", allow_module_level=True)
TABLE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = TABLE["project"]
CALLED = {"torch": "pytorch"}
"""Names on conda-forge, where they are others."""


@pytest.fixture
def recipe() -> dict[str, Any]:
    """The recipe, its context not put in."""
    yaml = pytest.importorskip("yaml")
    table: dict[str, Any] = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    return table


def split(requirement: str) -> tuple[str, set[str]]:
    """Name and bounds of a requirement of either kind."""
    name, bounds = re.fullmatch(r"([\w-]+) ?([^;]*)", requirement).groups()  # type: ignore[union-attr]
    return CALLED.get(name, name), set(bounds.replace(" ", "").split(","))


def test_the_recipe_has_the_requirements_of_the_project(recipe: dict[str, Any]) -> None:
    python, *others = recipe["requirements"]["run"]
    assert dict(map(split, others)) == dict(map(split, PROJECT["dependencies"]))
    assert len(others) == len(PROJECT["dependencies"])
    least = recipe["context"]["python_min"]
    assert set(python.removeprefix("python ").replace("${{ python_min }}", least).split(",")) == set(PROJECT["requires-python"].split(","))
    (backend,) = TABLE["build-system"]["requires"]
    assert split(backend) in list(map(split, recipe["requirements"]["host"][2:]))


def test_the_recipe_has_the_bounds_of_the_extras_that_conda_forge_has(recipe: dict[str, Any]) -> None:
    extras = PROJECT["optional-dependencies"]
    assert dict(map(split, recipe["requirements"]["run_constraints"])) == dict(map(split, extras["cluster"] + extras["superres"]))


def test_the_recipe_is_of_this_version_and_has_its_commands(recipe: dict[str, Any]) -> None:
    assert recipe["context"]["version"] == imaging.__version__
    assert recipe["package"]["name"] == PROJECT["name"]
    entries = dict(e.split(" = ") for e in recipe["build"]["python"]["entry_points"])
    assert entries == PROJECT["scripts"]
    assert recipe["source"]["url"].startswith(f"{PROJECT['urls']['Repository']}/releases/download/v${{{{ version }}}}/")


def test_the_recipe_tells_of_the_project(recipe: dict[str, Any]) -> None:
    about = recipe["about"]
    assert about["license"] == PROJECT["license"]
    assert about["summary"] == PROJECT["description"]
    assert about["repository"] == PROJECT["urls"]["Repository"]
    assert about["documentation"] == PROJECT["urls"]["Documentation"]
    assert set(PROJECT["license-files"]) <= set(about["license_file"])
    assert all((ROOT / name).is_file() for name in about["license_file"])


def instructions() -> list[tuple[str, str]]:
    """Those of the Containerfile, lines joined and comments left out."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", "")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def test_the_container_runs_a_command_of_the_project() -> None:
    found = dict(instructions())
    (command,) = json.loads(found["ENTRYPOINT"])
    assert command in PROJECT["scripts"]
    assert json.loads(found["CMD"]) == ["--help"]
    assert found["USER"] not in {"root", "0"}


def test_the_container_has_a_python_and_extras_of_the_project() -> None:
    (python,) = {m[1] for m in re.finditer(r"^FROM python:(3\.\d+)-", CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE)}
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    (extras,) = re.findall(r'pip install "/source\[([\w,]+)\]"', CONTAINERFILE.read_text(encoding="utf-8"))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_labels_of_the_container_tell_of_the_project() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', dict(instructions())["LABEL"]))
    assert labels == {
        "title": PROJECT["name"],
        "description": PROJECT["description"],
        "source": PROJECT["urls"]["Repository"],
        "licenses": PROJECT["license"],
    }


def test_the_build_of_the_container_sees_what_an_installation_needs() -> None:
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in shown)
    folders = set(TABLE["tool"]["setuptools"]["package-dir"].values())
    assert folders | {"pyproject.toml", "setup.py", "README.md", *PROJECT["license-files"]} <= shown
