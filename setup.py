"""The README as a page of a package index: its links and pictures lead to the repository's files of this version.

All else is in pyproject.toml.
"""

import re
import shutil
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
VERSION = re.findall('^__version__ = "(.+)"$', (ROOT / "imaging" / "version.py").read_text(encoding="utf-8"), re.MULTILINE)[0]


def absolute(link: re.Match[str]) -> str:
    """A picture or a link of Markdown, to a file of the repository, as one that works anywhere."""
    return f"{link[1]}({REPOSITORY}/{'raw' if link[1].startswith('!') else 'blob'}/v{VERSION}/{link[2]})"


shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # modules of an older version would be packed too
text = (ROOT / "README.md").read_text(encoding="utf-8")
setup(
    long_description=re.sub(r"(!?\[[^]]*\])\((?!https?:|#)([^)]+)\)", absolute, text),
    long_description_content_type="text/markdown",
)
