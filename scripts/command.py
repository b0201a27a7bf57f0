"""What the programs share: the command line, recipes, checkpoints, where they run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from imaging.releases import Table

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "pleiades_like_pan.tif"


def command(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def read_table(path: Path) -> Table:
    """A recipe."""
    return Table.parse(path.read_text(encoding="utf-8"), str(path))


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint in one go, so that an interruption leaves the one before."""
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def machine() -> str:
    """Processor and whether it has 8-bit dot products."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown processor")
    return f"{model}, {'with' if 'vnni' in text else 'without'} VNNI"
