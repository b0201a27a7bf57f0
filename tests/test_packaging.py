"""What an installation holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import imaging

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


def test_every_room_is_installed() -> None:
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not run from the repository")
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    source = Path(imaging.__file__).parent
    rooms = {".".join(("imaging", *p.parent.relative_to(source).parts)) for p in source.rglob("__init__.py")}
    models = {f"imaging.models.{p.parent.name}" for p in (ROOT / "models").glob("*/recipe.toml")}
    assert rooms | models <= set(packages)
    folders = {p for p in packages if not p.startswith("imaging.models")}
    assert all((source.parent / p.replace(".", "/")).is_dir() for p in folders)
