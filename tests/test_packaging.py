"""What an installation holds, and what it says of itself."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import imaging
from imaging.releases import zoo_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project() -> dict[str, Any]:
    """The table of pyproject.toml."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not run from the repository")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_room_is_installed(project: dict[str, Any]) -> None:
    packages = project["tool"]["setuptools"]["packages"]
    source = Path(imaging.__file__).parent
    rooms = {".".join(("imaging", *p.parent.relative_to(source).parts)) for p in source.rglob("__init__.py")}
    assert rooms <= set(packages)
    assert all((source.parent / p.replace(".", "/")).is_dir() for p in packages if p != "imaging.models")


def test_every_file_of_a_model_is_installed_without_an_entry_of_its_own(project: dict[str, Any]) -> None:
    settings = project["tool"]["setuptools"]
    assert settings["package-data"]["imaging.models"] == ["**/*"]
    assert not [p for p in settings["packages"] if p.startswith("imaging.models.")]
    files = {p.relative_to(ROOT / "models") for p in (ROOT / "models").rglob("*") if p.is_file()}
    assert {p for p in files if p.suffix == ".safetensors"}
    installed = zoo_folder()
    assert not [p for p in files if not (installed / p).exists()]


def test_every_other_file_that_is_not_a_program_is_installed(project: dict[str, Any]) -> None:
    settings = project["tool"]["setuptools"]["package-data"]
    named = {p for package, patterns in settings.items() for g in patterns for p in (ROOT / package.replace(".", "/")).glob(g)}
    others = {p for p in (ROOT / "imaging").rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"} and "models" not in p.parts}
    assert others <= named


def test_the_readme_of_an_installation_has_links_that_work_anywhere(project: dict[str, Any]) -> None:
    """On the page of a package index there is no folder beside it; each link leads to a file of the repository."""
    try:
        told = metadata.metadata("imaging-restore")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    text = str(told["Description"] or told.get_payload())
    assert text.splitlines()[0] == "# imaging-restore"
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert all(link.startswith("https://") for link in links)
    repository = project["project"]["urls"]["Repository"]
    beside = {m[2]: m[1] for link in links if (m := re.fullmatch(rf"{repository}/(raw|blob)/v{imaging.__version__}/([^#]+)(?:#.*)?", link))}
    assert beside["docs/images/sample.png"] == "raw"
    assert set(beside.values()) == {"raw", "blob"}
    assert all((ROOT / path).exists() for path in beside)
    assert len(beside) >= 15


def test_extras_hold_one_another(project: dict[str, Any]) -> None:
    """What users choose, all of it, and what tests need."""
    extras = project["project"]["optional-dependencies"]
    everything = {r.partition(";")[0] for name, group in extras.items() if name not in {"all", "docs", "test"} for r in group}
    own = re.compile(r"imaging-restore\[(.+)\]")
    for name in ("all", "test"):
        told = {r.partition(";")[0] for r in extras[name]}
        nested = {r for t in told if (m := own.fullmatch(t)) for part in m[1].split(",") for r in extras[part]}
        assert everything <= told | nested
        assert all("python_version < '3.13'" in r for r in extras[name] if r.startswith(("compressai", "numpy")))
    compressai, numpy = extras["compressai"]
    assert compressai.endswith("; python_version < '3.13'")
    assert numpy == "numpy<2; python_version < '3.13'"
    assert not [d for d in project["project"]["dependencies"] if d.startswith("compressai")]


def test_the_versions_of_python_are_those_of_the_classifiers(project: dict[str, Any]) -> None:
    table = project["project"]
    lowest, above = (int(n) for n in re.fullmatch(r">=3\.(\d+),<3\.(\d+)", table["requires-python"]).groups())  # type: ignore[union-attr]
    named = {c.rpartition(" :: ")[2] for c in table["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert named == {f"3.{n}" for n in range(lowest, above)}
    assert project["tool"]["ruff"]["target-version"] == f"py3{lowest}"
    assert project["tool"]["mypy"]["python_version"] == f"3.{lowest}"
