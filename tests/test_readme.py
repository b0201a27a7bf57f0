"""What the README shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imaging.sensors import load_profile

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_profile_shown_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "my-sensor.toml"
    path.write_text(blocks("toml")[0], encoding="utf-8")
    profile = load_profile(path)
    assert (profile.name, profile.bits, profile.bands[0].mtf.nyquist) == ("my-sensor", 12, (0.15, 0.15))


def test_the_python_shown_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code = blocks("python")[0].replace("samples=4, iterations=50", "samples=1, iterations=1")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)  # our own file
    restored, std = names["restored"], names["std"]
    assert restored.shape == std.shape == (1, 512, 512)
    assert bool((std > 0).all())


def test_the_python_of_the_regularisers_page_runs() -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "bilevel.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(compile(code, "bilevel.md", "exec"), names)  # our own file
    error = (names["x"] - names["truth"]).square().mean().sqrt()  # type: ignore[operator]
    assert float(error) < 0.4 * 15 / 255
