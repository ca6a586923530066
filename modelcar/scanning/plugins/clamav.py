"""ClamAV as a plug-in, and an example of one: it hands files on to clamd, and is careful about what *OK* means.

clamd skips what exceeds its limits and says OK, unless `AlertExceedsMax` is set. So it is asked first about an archive
that exceeds them all: whoever calls that OK is believed in nothing.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from functools import cache
from typing import Final

from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins.clamd import Clamd, TooLarge, find_clamd
from modelcar.scanning.plugins.interface import FileUnderScan, Isolation, PluginFinding, ScannerFailed, ScannerPlugin
from modelcar.scanning.plugins.reach import NUMBERS

__all__ = ["ClamAV", "plugin"]

_PART: Final = 16 << 20  # bytes; less than every limit that clamd has by default
_OVERLAP: Final = 1 << 20  # of two parts, so that what one cuts the other has whole
_PATIENCE: Final = 10.0  # seconds for a word about its version
_NESTED: Final = 120  # more than the largest MaxRecursion that clamd takes
_LIMITS: Final = "Heuristics.Limits.Exceeded"
_GUESSES: Final = ("Heuristics.", "PUA.")


class ClamAV(ScannerPlugin):
    name = "clamav"
    isolation = Isolation.NONE

    def __init__(self, clamd: Clamd, part: int = _PART) -> None:
        self._clamd = clamd
        self._part = part
        self._outspoken = False

    def version(self) -> str:
        return self._clamd.version(_PATIENCE).removeprefix("ClamAV ")

    def scan(self, file: FileUnderScan) -> Iterator[PluginFinding]:
        self._check_outspoken(file)
        try:
            found = self._stream(file)
        except TooLarge as e:
            # Numbers are as harmless in pieces as in one; of an archive a part says nothing.
            if not file.formats or not NUMBERS.issuperset(file.formats):
                raise ScannerFailed(f"{e}; {file.size} bytes are more than its limits allow") from None
            yield from self._scan_parts(file)
        else:
            yield from found

    def _scan_parts(self, file: FileUnderScan) -> Iterator[PluginFinding]:
        for offset in range(0, file.size, self._part - _OVERLAP):
            yield from self._stream(file, offset, min(self._part, file.size - offset))
        yield PluginFinding(
            severity=Severity.NOTE,
            title="clamd was given the file in overlapping parts",
            detail="as a whole it is too large; signatures of whole files, or at fixed offsets, say nothing about it",
        )

    def _stream(self, file: FileUnderScan, offset: int | None = None, size: int | None = None) -> list[PluginFinding]:
        name = self._clamd.scan(file.pieces(offset or 0, size), file.seconds_left)
        if name is None:
            return []
        if name.startswith(_LIMITS):
            raise TooLarge(f"clamd says: {name}")
        severity = Severity.UNVERIFIED if name.startswith(_GUESSES) else Severity.MALICIOUS
        return [PluginFinding(severity=severity, title=name, offset=offset)]

    def _check_outspoken(self, file: FileUnderScan) -> None:
        """Whether clamd says so when it does not look at all of a file."""
        if self._outspoken:
            return
        name = self._clamd.scan([_too_deep()], file.seconds_left)
        if name is None or not name.startswith(_LIMITS):
            raise ScannerFailed("clamd does not tell what it skips: `AlertExceedsMax yes` must be in its clamd.conf")
        self._outspoken = True


@cache
def _too_deep() -> bytes:
    """An archive in an archive in an archive …"""
    data = b"modelcar asks whether clamd reports what it does not look at"
    for _ in range(_NESTED):
        data = gzip.compress(data, mtime=0)
    return data


def plugin() -> ClamAV:
    """The entry point."""
    return ClamAV(find_clamd(os.environ))
