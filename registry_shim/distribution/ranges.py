"""`Range` and the conditional headers, as RFC 9110 means them for one representation per digest."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["Unsatisfiable", "is_current", "requested_range"]

_SINGLE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


class Unsatisfiable(Exception):
    """The range begins past the end: 416."""


def requested_range(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | None:
    """Offset and length of what is asked for; `None` for the whole.

    What is malformed, has several ranges, or is conditional on another representation, is answered by the whole.

    Raises:
        Unsatisfiable
    """
    match = _SINGLE.fullmatch(headers.get("range", "").strip().lower())
    if match is None or headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, stop - start


def _suffix(length: str, size: int) -> tuple[int, int] | None:
    if not length:
        return None
    n = min(int(length), size)
    if n == 0:
        raise Unsatisfiable
    return size - n, n


def is_current(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the client already has this representation (`If-None-Match`)."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags
