"""Many files by one scanner: what all of their findings together may take."""

from __future__ import annotations

import io
import zipfile

import pytest

from modelcar.scanning import files as files_module
from modelcar.scanning.content import literal
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Outcome, Severity
from modelcar.scanning.settings import ScanSettings


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."


def test_of_very_many_findings_the_worst_of_each_file_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "_MOST_FINDINGS", 30)
    scanner = FileScanner(ScanSettings())
    bad = literal(zip_of({f"{i}.py": b"print(1)\n" for i in range(20)} | {"a.pkl": EVIL}))
    reports = [scanner.scan(f"{i}.zip", bad) for i in range(10)]
    assert all(report.outcome is Outcome.MALICIOUS for report in reports)
    assert len(reports[0].findings) > 20
    assert [finding.severity for finding in reports[-1].findings] == [Severity.MALICIOUS, Severity.NOTE]
    assert sum(len(report.findings) for report in reports) < 100
