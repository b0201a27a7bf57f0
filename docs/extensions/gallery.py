"""MkDocs hook: what mkdocs-gallery leaves to be done for the tutorials.

Warnings of other libraries about themselves do not belong into their output. Pictures are named by paths that hold where pages are
folders; here they are files.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
_SECOND = re.compile(r' srcset="\.\./images/[^"]*"')
_FIRST = re.compile(r'(<img [^>]*src=")\.\./(images/mkd_glr_[^"]*"),?')


def on_page_content(content: str, **_: Any) -> str:
    """Name each picture once, beside its page."""
    return _FIRST.sub(r"\1\2", _SECOND.sub("", content))
