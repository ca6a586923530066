"""Sizes, rates, times and clocks as people write them: one grammar for options, configuration files and Python.

`5GB` and `5G` are decimal, `5GiB` and `5Gi` binary; a number alone counts bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import time
from enum import Enum
from typing import Final

from modelcar.errors import UsageError

__all__ = ["READERS", "Unit", "parse_rate", "parse_size", "read_bytes", "read_clock", "read_rate", "read_seconds"]


class Unit(Enum):
    """What a number counts, as its documentation says it."""

    NONE = "a number"
    BYTES = 'bytes, or a size such as "20GiB"'
    RATE = 'bytes a second, or a rate such as "100MiB/s" or "1Gbit/s"'
    SECONDS = 'seconds, or a time such as "30s", "5m" or "1h30m"'

    @property
    def pattern(self) -> str | None:
        """A regular expression for the written form."""
        return _PATTERNS.get(self)


_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kKMGTP]i?)?B?", re.ASCII)
_BITS: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kKMGT])?bit/s", re.ASCII)
_TIME: Final = re.compile(
    r"(?=.)(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,6})?)s)?"
)
_MILLISECONDS: Final = re.compile(r"([0-9]{1,9})ms", re.ASCII)
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_PATTERNS: Final = {
    Unit.BYTES: r"^[0-9]+(\.[0-9]+)? ?([kKMGTP]i?)?B?$",
    Unit.RATE: r"^[0-9]+(\.[0-9]+)? ?(([kKMGTP]i?)?B(/s)?|[kKMGT]?bit/s)$",
    Unit.SECONDS: r"^([0-9]+ms|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+(\.[0-9]+)?s)?)$",
}
_POWERS: Final = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def read_bytes(text: str) -> int | None:
    """ "20GiB", "500MB" or "1024" in bytes; `None` for what is no size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    prefix = match[2] or ""
    base = 1024 if prefix.endswith("i") else 1000
    return _whole(match[1], base ** _POWERS[prefix.removesuffix("i")])


def parse_size(text: str | int, *, least: int = 0) -> int:
    """Bytes of "20GiB", "500MB" or a plain number.

    Raises:
        UsageError: it is none, not a whole number of bytes, or fewer than `least`.
    """
    size = read_bytes(str(text).strip())
    if size is None:
        raise UsageError(f"{str(text)!r} is not a size", hint="write it like 500MB (decimal) or 20GiB (binary)")
    if size < least:
        raise UsageError(f"{str(text)!r} is too small: it is at least {least} byte{'' if least == 1 else 's'}")
    return size


def parse_rate(text: str, *, least: int = 1) -> int:
    """ "100MiB/s", "1Gbit/s" or a plain number in bytes a second; `least` is 0 where that means "no limit".

    Raises:
        UsageError: it is none, or less than `least`.
    """
    rate = read_rate(text.strip())
    if rate is None or rate < least:
        raise UsageError(f"{text!r} is not a rate", hint="write it like 50MB/s, 100MiB/s or 1Gbit/s")
    return rate


def read_rate(text: str) -> int | None:
    """ "100MiB/s" or "1Gbit/s" in bytes a second; `None` for what is no rate."""
    bits = _BITS.fullmatch(text)
    if bits is not None:
        return _whole(bits[1], 1000 ** _POWERS[bits[2] or ""], divided_by=8)
    return read_bytes(text.removesuffix("/s"))


def read_seconds(text: str) -> float | None:
    """ "250ms", "30s" or "1h30m" in seconds; `None` for what is no time."""
    milliseconds = _MILLISECONDS.fullmatch(text)
    if milliseconds is not None:
        return int(milliseconds[1]) / 1000
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def read_clock(text: str) -> time | None:
    """ "22:00" as a time of day; `None` for what is none."""
    match = _CLOCK.fullmatch(text)
    return time(int(match[1]), int(match[2])) if match else None


def _whole(number: str, unit: int, *, divided_by: int = 1) -> int | None:
    """`number` of `unit`, exactly; `None` if that is no whole number."""
    digits, _, decimals = number.partition(".")
    count, rest = divmod(int(digits + decimals) * unit, 10 ** len(decimals) * divided_by)
    return count if rest == 0 else None


READERS: Final[dict[Unit, Callable[[str], float | None]]] = {
    Unit.BYTES: read_bytes,
    Unit.RATE: read_rate,
    Unit.SECONDS: read_seconds,
}
