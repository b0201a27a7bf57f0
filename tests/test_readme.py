"""What the README shows is what there is; that its blocks and commands run, tests/test_docs.py says."""

from __future__ import annotations

import re
from pathlib import Path

from imaging.sensors import load_profile
from tests.pages import ROOT, fenced

README = ROOT / "README.md"


def test_the_profile_shown_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "my-sensor.toml"
    path.write_text(fenced(README, "toml")[0], encoding="utf-8")
    profile = load_profile(path)
    assert (profile.name, profile.bits, profile.bands[0].mtf.nyquist) == ("my-sensor", 12, (0.15, 0.15))


def test_links_lead_somewhere() -> None:
    """Those of README and CONTRIBUTING; the build of the pages checks its own."""
    for page in (README, ROOT / "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        assert targets
        for target in targets:
            assert (ROOT / target).exists(), f"{page.name}: {target}"
