"""How the package is cited, and whom it credits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import imaging

ROOT = Path(__file__).parents[1]
if not (ROOT / "CITATION.cff").exists():
    pytest.skip("not run from the repository", allow_module_level=True)
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
CREDITS = (ROOT / "CREDITS.md").read_text(encoding="utf-8")


def top(key: str) -> str:
    """Value of a key that is not indented."""
    (value,) = re.findall(rf"^{key}: (.+)$", CITATION, re.MULTILINE)
    return str(value).strip('"')


def test_citation_is_of_this_version() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert top("cff-version") == "1.2.0"
    assert top("version") == imaging.__version__
    assert f'license = "{top("license")}"' in project
    assert top("title").startswith("imaging-restore: ")
    (author,) = re.findall(r'^authors = \[\{ name = "(.+)" \}\]', project, re.MULTILINE)
    assert f"\nauthors:\n  - name: {author}\n" in CITATION


def test_citation_can_be_read_and_has_what_the_format_asks_for() -> None:
    yaml = pytest.importorskip("yaml")
    table = yaml.safe_load(CITATION)
    assert {"cff-version", "message", "title", "authors"} <= set(table)
    assert isinstance(table["version"], str)
    for work in table["references"]:
        assert {"type", "title", "authors", "year"} <= set(work)
        assert isinstance(work["year"], int)
        assert all(set(a) == {"name"} or set(a) == {"family-names", "given-names"} for a in work["authors"])
        assert "doi" in work or work["url"].removeprefix("https://arxiv.org/abs/") in work["identifiers"][0]["value"]


@pytest.mark.parametrize("number", ["2311.17744", "2412.04130", "2308.10098", "2208.14839", "2011.03029", "10.21105/joss.08923"])
def test_the_papers_of_methods_and_libraries_are_cited_and_credited(number: str) -> None:
    assert number in CITATION
    assert number in CREDITS


def test_every_model_and_its_images_are_credited() -> None:
    cards = {p.parent.name: p.read_text(encoding="utf-8") for p in sorted((ROOT / "models").glob("*/card.md"))}
    linked = re.findall(r"\((models/[\w-]+/card\.md)\)", CREDITS)
    assert sorted(linked) == sorted(f"models/{name}/card.md" for name in cards)
    everything = " ".join(" ".join(cards.values()).split())
    for credit in (
        "USDA NAIP, public domain",
        "tiles published CC BY 4.0 by Ventura et al. 2024",
        "USGS National Map Urban Area imagery, public domain",
        "selected from the UC Merced Land Use set",
        "CC BY 3.0, Andrew Zaborowski, with attribution to OpenStreetMap-PL",
    ):
        assert credit in everything, "the cards say so"
        assert credit in " ".join(CREDITS.split()), "and so do the credits"


def test_links_of_the_credits_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", CREDITS)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
