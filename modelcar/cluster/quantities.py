"""Quantities as Kubernetes writes them, in bytes."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from modelcar.errors import UsageError

__all__ = ["quantity"]

_FORM: Final = re.compile(r"(?P<number>\d+(\.\d+)?([eE][+-]?\d{1,2})?)(?P<unit>[KMGTPE]i|[kMGTPE]|)")
_UNITS: Final = {"": 1} | {
    unit: base**power
    for suffix, base in (("", 1000), ("i", 1024))
    for power, letter in enumerate("kMGTPE", 1)
    for unit in [("K" if letter == "k" and suffix else letter) + suffix]
}
_MOST: Final = 1 << 62


def quantity(text: str) -> int:
    """Whole bytes of `500Gi`, `1.5T` or `2e12`.

    Raises:
        UsageError: it is none, or more than a disk can have.
    """
    match = _FORM.fullmatch(text.strip())
    try:
        value = Decimal(match["number"]) * _UNITS[match["unit"]] if match else Decimal(-1)
    except InvalidOperation:
        value = Decimal(-1)
    if not 0 <= value <= _MOST:
        raise UsageError(f"{text!r} is not a quantity of bytes", hint="it looks like 500Gi")
    return int(value)
