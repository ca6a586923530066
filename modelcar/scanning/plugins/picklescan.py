"""picklescan: a list of dangerous and of harmless globals in pickles."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins.interface import FileUnderScan, PluginFinding, ScannerFailed, ScannerPlugin
from modelcar.scanning.plugins.packages import require, version
from modelcar.scanning.plugins.reach import may_hold_pickles

__all__ = ["PickleScan", "plugin"]

_NAME: Final = "picklescan"
_SEVERITIES: Final = {"dangerous": Severity.MALICIOUS, "suspicious": Severity.UNVERIFIED}
# It goes on after these, and says them to nobody but its log.
_COMPLAINTS: Final = ("WARNING: could not parse", "Invalid file ")


class PickleScan(ScannerPlugin):
    name = _NAME

    def version(self) -> str:
        return version(_NAME)

    def wants(self, file: FileUnderScan) -> bool:
        return may_hold_pickles(file)

    def scan(self, file: FileUnderScan) -> Iterator[PluginFinding]:
        from picklescan.scanner import scan_file_path

        complaints = _Complaints()
        logging.getLogger(_NAME).addHandler(complaints)
        with file.on_disk() as path:
            result = scan_file_path(str(path))
        for each in result.globals:
            if each.safety.value != "innocuous":
                severity = _SEVERITIES.get(each.safety.value, Severity.UNVERIFIED)
                yield PluginFinding(
                    severity=severity, title=f"{each.safety.value} import", detail=f"{each.module}.{each.name}"
                )
        if result.scan_err:
            raise ScannerFailed("it could not read all of the pickle")
        if complaints.texts:
            raise ScannerFailed(complaints.texts[0].removeprefix("WARNING: ").replace(str(path), file.name))
        if not result.scanned_files:
            raise ScannerFailed("it found nothing to scan in it")


class _Complaints(logging.Handler):
    """Keeps what is logged of files that were not looked at."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not self.texts and (text := record.getMessage()).startswith(_COMPLAINTS):
            self.texts.append(text)


def plugin() -> PickleScan:
    """The entry point."""
    require(_NAME)
    return PickleScan()
