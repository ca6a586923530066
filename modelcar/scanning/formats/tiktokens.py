"""tiktoken's vocabularies: on each line a token in base64, and its rank."""

from __future__ import annotations

import re
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule

__all__ = ["FORMATS", "RULES", "looks_like_ranks"]

_LINE: Final = rb"[A-Za-z0-9+/]{1,4096}+={0,2} [0-9]{1,10}\r?\n"
_FIRST: Final = re.compile(_LINE)
_OTHER: Final = re.compile(rb"^(?!%b|\Z)" % _LINE, re.MULTILINE)
_LONGEST: Final = 8192  # bytes of a line


def looks_like_ranks(head: bytes) -> bool:
    """Whether a file that begins with `head` is such a vocabulary."""
    return _FIRST.match(head) is not None


def _matches(probe: Probe) -> bool:
    return probe.name.endswith(".tiktoken") or (probe.name.endswith(".model") and looks_like_ranks(probe.head))


def _scan(scan: FileScan) -> None:
    rest, offset = b"", 0
    for piece in scan.content.pieces():
        scan.budget.check_time()
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        _check(whole + newline, offset)
        offset += len(whole) + len(newline)
        if len(rest) > _LONGEST:
            raise Malformed("a line that is too long", offset)
    if rest:
        _check(rest + b"\n", offset)
    scan.account_for_all()


def _check(lines: bytes, offset: int) -> None:
    if (other := _OTHER.search(lines)) is not None:
        raise Malformed("a line that is no token and its rank", offset + other.start())


FORMATS: Final = (Format(name="tiktoken", matches=_matches, scan=_scan),)
RULES: Final[tuple[Rule, ...]] = ()
