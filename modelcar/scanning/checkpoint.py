"""Scanning a checkpoint that lies on disk."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from modelcar.checkpoint import Checkpoint, CheckpointFile
from modelcar.errors import MalformedFile
from modelcar.files import open_unchanged, reading
from modelcar.progress import SILENT, Progress
from modelcar.scanning.content import Content
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Finding
from modelcar.scanning.names import name_findings
from modelcar.scanning.report import FileReport, Report
from modelcar.scanning.settings import ScanSettings
from modelcar.scanning.version import RULE_SET

__all__ = ["scan_checkpoint"]

_DEFAULTS: Final = ScanSettings()


def scan_checkpoint(
    checkpoint: Checkpoint,
    settings: ScanSettings = _DEFAULTS,
    progress: Progress = SILENT,
    *,
    subject: str | None = None,
) -> Report:
    """Scan every file of a checkpoint, in the states in which it was opened.

    Args:
        subject: what to call it; by default its folder.

    Raises:
        WorldError: a file cannot be read or has changed; that is no verdict.
    """
    scanner = FileScanner(settings)
    progress.expect(sum(file.size for file in checkpoint.files))
    files = tuple(_scan_file(file, scanner, progress) for file in checkpoint.files)
    return Report(
        subject=subject or str(checkpoint.root),
        files=files,
        rule_set=RULE_SET,
        scanners=scanner.scanners,
        scanned_at=datetime.now(UTC),
        findings=(*name_findings(file.path for file in checkpoint.files), *_licence_findings(checkpoint, settings)),
        facts={"excluded": list(checkpoint.excluded)} if checkpoint.excluded else {},
    )


def _licence_findings(checkpoint: Checkpoint, settings: ScanSettings) -> list[Finding]:
    if not settings.licenses:
        return []
    from modelcar.scanning.licences import licence_findings

    try:
        licences = checkpoint.facts().licenses
    except MalformedFile:  # which has a finding of its own
        licences = ()
    return licence_findings(licences, settings.licenses)


def _scan_file(file: CheckpointFile, scanner: FileScanner, progress: Progress) -> FileReport:
    key = f"scan {file.path}"
    progress.start(key, file.path, file.size)
    fd = open_unchanged(file.source, file.stamp)
    try:
        report = scanner.scan(file.path, Content(reading(fd, file.path), file.size), file.source)
        os.close(open_unchanged(file.source, file.stamp))  # other scanners went by its name, and saw the same
        return report
    finally:
        os.close(fd)
        progress.finish(key, "done")
