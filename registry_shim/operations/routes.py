"""What kind of request a path is: few kinds, whatever clients make up, because every one is a time series."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ROUTES", "route_of"]

_ENDPOINTS: Final = (
    ("base", re.compile(r"/v2/?")),
    ("tags", re.compile(r"/v2/.+/tags/list")),
    ("upload", re.compile(r"/v2/.+/blobs/uploads(/[^/]*)?")),
    ("blob", re.compile(r"/v2/.+/blobs/[^/]+")),
    ("manifest", re.compile(r"/v2/.+/manifests/[^/]+")),
    ("referrers", re.compile(r"/v2/.+/referrers/[^/]+")),
    ("operations", re.compile(r"/(healthz|readyz|metrics|ui(/.*)?)")),
)
ROUTES: Final = (*(name for name, _ in _ENDPOINTS), "other")


def route_of(path: str) -> str:
    """One of `ROUTES`."""
    return next((name for name, pattern in _ENDPOINTS if pattern.fullmatch(path)), "other")
