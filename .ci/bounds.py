"""Requirements of pyproject.toml without extras of tests and documentation, one a line: at their lower bounds, or free of upper ones.

Usage: bounds.py lowest|newest
"""

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("cluster", "superres") + (("compressai",) if sys.argv[1] == "lowest" else ())  # which holds numpy below 2

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"] + [r for extra in EXTRAS for r in project["optional-dependencies"][extra]]:
    wanted, _, marker = requirement.partition(";")
    found = re.match(r"([A-Za-z0-9-]+)>=([0-9.]+)", wanted)
    if found is None:  # a further bound on what stands above
        continue
    name, lowest = found.groups()
    print(f"{name}{'==' if sys.argv[1] == 'lowest' else '>='}{lowest}" + (f"; {marker.strip()}" if marker else ""))
