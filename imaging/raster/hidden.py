"""Names of what is not to be seen: outputs that come into being, files half written."""

from __future__ import annotations

import uuid
from pathlib import Path


def partial_folder(output: Path) -> Path:
    """Hidden folder in which an output comes into being."""
    return output.parent / f".{output.name}.partial"


def temporary(path: Path) -> Path:
    """A name beside a file that nothing else has, also where several processes write it."""
    return path.with_name(f".{uuid.uuid4().hex}.tmp")
