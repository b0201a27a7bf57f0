"""What a restoration did, for people to see: a page to explore and a picture."""

from __future__ import annotations
