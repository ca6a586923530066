"""Scanning one file after the other by the same settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from modelcar import __version__
from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.limits import Budget, Limits
from modelcar.scanning.plugins.interface import FileUnderScan
from modelcar.scanning.plugins.run import run_plugins
from modelcar.scanning.report import FileReport, Scanner
from modelcar.scanning.settings import ScanSettings

__all__ = ["OURS", "FileScanner"]

OURS: Final = Scanner(name="modelcar", version=__version__)
_MOST_FINDINGS: Final = 20_000  # of one scan, that are kept of files with many


@dataclass(slots=True)
class FileScanner:
    """Scans files by `settings`; safe to share between threads.

    Once `_MOST_FINDINGS` have been found in files before, only the worst one of each further file is kept.
    """

    settings: ScanSettings
    _found: int = field(default=0, init=False)

    @property
    def scanners(self) -> tuple[Scanner, ...]:
        """Who looks."""
        return (OURS, *(Scanner(name=plugin.name, version=plugin.version) for plugin in self.settings.plugins))

    def budget(self, content: Content) -> Budget:
        """A fresh one, for one file."""
        return Budget(limits=self._limits, spool=self.settings.spool, size=content.size)

    def scan(self, path: str, content: Content, source: Path | None = None) -> FileReport:
        """Scan one file and everything in it. `source` is where it lies on disk, if it does.

        Raises:
            WorldError: it cannot be read.
        """
        from modelcar.scanning.catalogue import FORMATS  # with all parsers, which many commands never need

        formats, findings = scan_content(path, content, FORMATS, self.budget(content))
        if self.settings.plugins:
            file = FileUnderScan(path=path, content=content, formats=formats, source=source, spool=self.settings.spool)
            findings = (*findings, *run_plugins(self.settings.plugins, file, self._limits))
        self._found += len(findings)
        return FileReport(path=path, size=content.size, formats=formats, findings=findings)

    @property
    def _limits(self) -> Limits:
        limits = self.settings.limits
        return limits if self._found < _MOST_FINDINGS else replace(limits, findings=1)
