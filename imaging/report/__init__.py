"""What a restoration did, for people to see: a page to explore and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.report.page import report
    from imaging.report.picture import quicklook
else:
    __getattr__ = on_first_use(__name__)

__all__ = ["quicklook", "report"]
