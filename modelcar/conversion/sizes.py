"""Sizes as users of transformers write them."""

from __future__ import annotations

import re
from typing import Final

from modelcar.errors import UsageError

__all__ = ["parse_size"]

_UNITS: Final = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{prefix}iB": 1 << 10 * power for power, prefix in enumerate("KMGT", 1)
}
_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")


def parse_size(text: str | int) -> int:
    """Bytes of `5GB`, `500MB` (decimal), `5GiB` (binary) or a plain number.

    Raises:
        UsageError: it is none, or nothing would fit.
    """
    match = _SIZE.fullmatch(str(text).strip())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise UsageError(f"{str(text)!r} is no size", hint="write it like 5GB, 500MB or 5GiB")
    whole, _, fraction = match[1].partition(".")
    size = int(whole) * unit + int(fraction or 0) * unit // int(10 ** len(fraction))
    if size < 1:
        raise UsageError("no tensor fits into a shard of 0 bytes", hint="write it like 5GB, 500MB or 5GiB")
    return size
