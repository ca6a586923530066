"""Scanning one file after the other by the same settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelcar import __version__
from modelcar.scanning.catalog import FORMATS
from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.limits import Budget
from modelcar.scanning.report import FileReport, Scanner
from modelcar.scanning.settings import ScanSettings

__all__ = ["OURS", "FileScanner"]

OURS: Final = Scanner(name="modelcar", version=__version__)


@dataclass(frozen=True, slots=True)
class FileScanner:
    """Scans files by `settings`; safe to share between threads."""

    settings: ScanSettings

    @property
    def scanners(self) -> tuple[Scanner, ...]:
        """Who looks."""
        return (OURS,)

    def budget(self) -> Budget:
        """A fresh one, for one file."""
        return Budget(limits=self.settings.limits, spool=self.settings.spool)

    def scan(self, path: str, content: Content) -> FileReport:
        """Scan one file and everything in it. Raises `WorldError` where it cannot be read."""
        formats, findings = scan_content(path, content, FORMATS, self.budget())
        return FileReport(path=path, size=content.size, formats=formats, findings=findings)
