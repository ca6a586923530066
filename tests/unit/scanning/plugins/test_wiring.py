"""Other scanners in the scan of a whole: what they see of it, and what becomes of what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import SourceChanged
from modelcar.oci import Digest
from modelcar.scanning.catalogue import RULES
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Outcome
from modelcar.scanning.memo import ReportMemo
from modelcar.scanning.plugins import FileUnderScan, PluginFinding, ScannerFailed, Severity
from modelcar.scanning.plugins import rules as plugin_rules
from modelcar.scanning.settings import ScanSettings
from tests.support.weights import safetensors_bytes
from tests.unit.scanning.plugins.conftest import Fake, Scan, loaded

GOOD = safetensors_bytes({"a": ("F32", (2,), bytes(8))})
IMAGE = Digest.of(b"an image")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(GOOD)
    return folder


def settings(scan: Scan) -> ScanSettings:
    return ScanSettings(plugins=(loaded(Fake(scan)),))


def test_a_verdict_gets_worse_by_what_another_scanner_says(model: Path) -> None:
    seen: list[FileUnderScan] = []

    def scan(file: FileUnderScan) -> Iterator[PluginFinding]:
        seen.append(file)
        yield PluginFinding(severity=Severity.MALICIOUS, title="Worm.X")

    assert scan_checkpoint(open_checkpoint(model)).outcome is Outcome.CLEAN
    report = scan_checkpoint(open_checkpoint(model), settings(scan))
    assert report.outcome is Outcome.MALICIOUS
    assert [(s.name, s.version) for s in report.scanners[1:]] == [("fake", "1")]
    (file,) = seen
    assert (file.path, file.formats, file.source) == (
        "model.safetensors",
        ("safetensors",),
        model / "model.safetensors",
    )


def test_a_file_that_changes_meanwhile_gets_no_verdict(model: Path) -> None:
    def scan(file: FileUnderScan) -> Iterator[PluginFinding]:
        (model / "other").write_bytes(GOOD)
        (model / "other").replace(model / "model.safetensors")
        yield from ()

    with pytest.raises(SourceChanged):
        scan_checkpoint(open_checkpoint(model), settings(scan))


def test_a_report_with_a_failure_is_not_remembered(model: Path, tmp_path: Path) -> None:
    def fail(file: FileUnderScan) -> Iterator[PluginFinding]:
        raise ScannerFailed("the daemon is gone")

    memo = ReportMemo(tmp_path / "memo")
    for scan, remembered in ((fail, False), (lambda _: [], True)):
        how = settings(scan)
        report = replace(scan_checkpoint(open_checkpoint(model), how), facts={"digest": str(IMAGE)})
        memo.put(IMAGE, report, FileScanner(how))
        assert (memo.get(IMAGE, FileScanner(how)) is not None) == remembered
    assert memo.get(IMAGE, FileScanner(ScanSettings())) is None


def test_their_rules_are_in_the_catalog() -> None:
    assert set(plugin_rules.RULES) <= set(RULES)
