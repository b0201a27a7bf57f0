"""What a restoration did, for people to see: a page to explore and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.report.page import report
    from imaging.report.picture import quicklook
else:
    _modules = {
        "imaging.report.page": "report",
        "imaging.report.picture": "quicklook",
    }
    __getattr__, __dir__ = on_first_use(__name__, _modules)

__all__ = ["quicklook", "report"]
