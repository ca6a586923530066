"""Scanning one file after the other by the same settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar import __version__
from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.limits import Budget
from modelcar.scanning.plugins.interface import FileUnderScan
from modelcar.scanning.plugins.run import run_plugins
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
        return (OURS, *(Scanner(name=plugin.name, version=plugin.version) for plugin in self.settings.plugins))

    def budget(self, content: Content) -> Budget:
        """A fresh one, for one file."""
        return Budget(limits=self.settings.limits, spool=self.settings.spool, size=content.size)

    def scan(self, path: str, content: Content, source: Path | None = None) -> FileReport:
        """Scan one file and everything in it. `source` is where it lies on disk, if it does.

        Raises:
            WorldError: it cannot be read.
        """
        from modelcar.scanning.catalog import FORMATS  # with all parsers, which many commands never need

        formats, findings = scan_content(path, content, FORMATS, self.budget(content))
        if self.settings.plugins:
            file = FileUnderScan(path=path, content=content, formats=formats, source=source, spool=self.settings.spool)
            findings = (*findings, *run_plugins(self.settings.plugins, file, self.settings.limits))
        return FileReport(path=path, size=content.size, formats=formats, findings=findings)
