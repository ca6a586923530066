"""Scanning a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from modelcar.checkpoint import Checkpoint, CheckpointFile, Remote
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

__all__ = ["report_on", "scan_checkpoint", "scan_file"]

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
    files = [scan_file(file, scanner, checkpoint.remote, progress) for file in checkpoint.files]
    return report_on(checkpoint, files, scanner, subject=subject)


def report_on(
    checkpoint: Checkpoint, files: Sequence[FileReport], scanner: FileScanner, *, subject: str | None = None
) -> Report:
    """The report on a checkpoint of which every file has been scanned by `scanner`."""
    settings = scanner.settings
    return Report(
        subject=subject or str(checkpoint.root),
        files=tuple(files),
        rule_set=RULE_SET,
        scanners=scanner.scanners,
        scanned_at=datetime.now(UTC),
        findings=(*name_findings(file.path for file in checkpoint.files), *_license_findings(checkpoint, settings)),
        facts={"excluded": list(checkpoint.excluded)} if checkpoint.excluded else {},
    )


def _license_findings(checkpoint: Checkpoint, settings: ScanSettings) -> list[Finding]:
    if not settings.licenses:
        return []
    from modelcar.scanning.licenses import license_findings

    try:
        licences = checkpoint.facts().licenses
    except MalformedFile:  # which has a finding of its own
        licences = ()
    return license_findings(licences, settings.licenses)


def scan_file(
    file: CheckpointFile, scanner: FileScanner, remote: Remote | None = None, progress: Progress = SILENT
) -> FileReport:
    """Scan one file of a checkpoint; one that is awaited through `remote`, from afar.

    Raises:
        WorldError: it cannot be read or has changed; that is no verdict.
    """
    key = f"scan {file.path}"
    progress.start(key, file.path, file.size)
    try:
        if file.awaited and remote is not None:
            return scanner.scan(file.path, Content(remote.reading(file), file.size))
        return _scan_here(file, scanner)
    finally:
        progress.finish(key, "done")


def _scan_here(file: CheckpointFile, scanner: FileScanner) -> FileReport:
    fd = open_unchanged(file.source, file.stamp)
    try:
        report = scanner.scan(file.path, Content(reading(fd, file.path), file.size), file.source)
        os.close(open_unchanged(file.source, file.stamp))  # other scanners went by its name, and saw the same
        return report
    finally:
        os.close(fd)
