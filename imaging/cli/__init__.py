"""Command lines: parsing and messages only."""

from __future__ import annotations
