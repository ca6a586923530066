"""Scanning a checkpoint that lies on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from modelcar import __version__
from modelcar.checkpoint import Checkpoint, CheckpointFile
from modelcar.files import open_unchanged, reading
from modelcar.progress import SILENT, Progress
from modelcar.scanning.catalog import FORMATS, RULE_SET
from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.limits import Budget, Limits
from modelcar.scanning.report import FileReport, Report, Scanner

__all__ = ["ScanSettings", "scan_checkpoint"]

OURS: Final = Scanner(name="modelcar", version=__version__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """How to scan. `spool` is where decompressed members lie while they are looked at."""

    limits: Limits = field(default_factory=Limits)
    spool: Path | None = None

    def budget(self) -> Budget:
        return Budget(limits=self.limits, spool=self.spool)


_DEFAULTS: Final = ScanSettings()


def scan_checkpoint(checkpoint: Checkpoint, settings: ScanSettings = _DEFAULTS, progress: Progress = SILENT) -> Report:
    """Scan every file of a checkpoint, in the states in which it was opened.

    Raises:
        WorldError: a file cannot be read or has changed; that is no verdict.
    """
    progress.expect(sum(file.size for file in checkpoint.files))
    files = tuple(_scan_file(file, settings, progress) for file in checkpoint.files)
    return Report(
        subject=str(checkpoint.root),
        files=files,
        rule_set=RULE_SET,
        scanners=(OURS,),
        scanned_at=datetime.now(UTC),
    )


def _scan_file(file: CheckpointFile, settings: ScanSettings, progress: Progress) -> FileReport:
    key = f"scan {file.path}"
    progress.start(key, file.path, file.size)
    fd = open_unchanged(file.source, file.stamp)
    try:
        content = Content(reading(fd, file.path), file.size)
        names, findings = scan_content(file.path, content, FORMATS, settings.budget())
    finally:
        os.close(fd)
    progress.finish(key)
    return FileReport(path=file.path, size=file.size, formats=names, findings=findings)
