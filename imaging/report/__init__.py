"""What a restoration did, for people to see: a page to explore and a picture."""

from __future__ import annotations

from imaging.report.page import report
from imaging.report.quicklook import quicklook

__all__ = ["quicklook", "report"]
