"""fickling, by Trail of Bits: pickles decompiled, and judged by what the program does."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins.interface import FileUnderScan, PluginFinding, ScannerFailed, ScannerPlugin
from modelcar.scanning.plugins.packages import require, version
from modelcar.scanning.plugins.reach import may_hold_pickles

__all__ = ["Fickling", "plugin"]

_NAME: Final = "fickling"
_HARMLESS: Final = "LIKELY_SAFE"
# LIKELY_UNSAFE is every import from outside the standard library: every tensor is that.
_MALICIOUS: Final = frozenset({"LIKELY_OVERTLY_MALICIOUS", "OVERTLY_MALICIOUS"})
_GAVE_UP: Final = "ResourceExhaustion"  # which it calls malicious, and which large honest files are, too
_PICKLES: Final = "pickle"


class Fickling(ScannerPlugin):
    name = _NAME

    def version(self) -> str:
        return version(_NAME)

    def wants(self, file: FileUnderScan) -> bool:
        return may_hold_pickles(file)

    def scan(self, file: FileUnderScan) -> Iterator[PluginFinding]:
        with file.on_disk() as path:
            results = _results(path, file)
        for member, result in results.items():
            for analysis in result.results:
                yield from (_finding(each, member) for each in analysis.results if each.severity.name != _HARMLESS)
        for result in results.values():
            if result.errors:
                raise ScannerFailed(result.errors[0])


def _results(path: Path, file: FileUnderScan) -> dict[str, Any]:
    """By member; a file that is no archive has one without a name."""
    from fickling import scan_file, scan_zip_archive

    if zipfile.is_zipfile(path):
        members: dict[str, Any] = scan_zip_archive(str(path), graceful=True)
        if not members:
            raise ScannerFailed("it found no pickle in the archive")
        return members
    if file.formats and _PICKLES not in file.formats:
        raise ScannerFailed(f"it does not read files of the format {', '.join(file.formats)}")
    return {"": scan_file(str(path), graceful=True)}


def _finding(said: Any, member: str) -> PluginFinding:
    malicious = said.severity.name in _MALICIOUS and said.analysis_name != _GAVE_UP
    return PluginFinding(
        severity=Severity.MALICIOUS if malicious else Severity.UNVERIFIED,
        title=said.severity.name.lower().replace("_", " "),
        detail=str(said),
        member=member,
    )


def plugin() -> Fickling:
    """The entry point."""
    require(_NAME)
    return Fickling()
