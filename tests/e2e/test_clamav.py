"""A real clamd is asked about models: it sees every byte, and what it does not look at is not called clean."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.findings import Finding
from modelcar.scanning.plugins.loading import load_plugins
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings
from tests.e2e.support.clamav import KNOWN_FILE, LIMIT, PAYLOAD, ClamdDaemon, clamd
from tests.support.checkpoints import make_checkpoint

pytestmark = pytest.mark.debian("clamd")

Scan = Callable[..., Report]


@pytest.fixture(scope="module")
def daemon(workspace: Path) -> Iterator[ClamdDaemon]:
    with clamd(workspace / "clamd") as daemon:
        yield daemon


@pytest.fixture
def scan(daemon: ClamdDaemon, monkeypatch: pytest.MonkeyPatch) -> Scan:
    """Scan a folder with the help of the daemon at an address."""

    def scan(folder: Path, address: str | None = None) -> Report:
        monkeypatch.setenv("MODELCAR_CLAMD", address or daemon.path)
        return scan_checkpoint(open_checkpoint(folder), ScanSettings(plugins=load_plugins(["clamav"])))

    return scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "model", shards=1)


def said(report: Report) -> list[tuple[str, str, str]]:
    """What clamd found."""
    found: list[Finding] = [finding for finding in report.all_findings if finding.scanner == "clamav"]
    return [(finding.path, finding.rule.id, finding.detail.removeprefix("clamav: ")) for finding in found]


def test_a_model_in_which_it_finds_nothing(scan: Scan, folder: Path, daemon: ClamdDaemon) -> None:
    for address in (daemon.path, daemon.tcp):
        report = scan(folder, address)
        assert said(report) == []
        assert report.scanners[1].name == "clamav"
        assert report.scanners[1].version[0].isdigit()


def test_what_it_knows_is_malicious(scan: Scan, folder: Path) -> None:
    (folder / "notes.txt").write_bytes(b"x" * 3_000_000 + PAYLOAD + b"x")
    (folder / "program").write_bytes(KNOWN_FILE)
    with zipfile.ZipFile(folder / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/inside", PAYLOAD * 100)
    assert said(scan(folder)) == [
        ("model.zip", "scanner.malicious", "Test.Payload.UNOFFICIAL"),
        ("notes.txt", "scanner.malicious", "Test.Payload.UNOFFICIAL"),
        ("program", "scanner.malicious", "Test.KnownFile.UNOFFICIAL"),
    ]


def test_what_is_too_large_for_it_is_not_clean(scan: Scan, folder: Path) -> None:
    (folder / "large.bin").write_bytes(bytes(LIMIT + 1))
    ((path, rule, detail),) = said(scan(folder))
    assert (path, rule) == ("large.bin", "scanner.failed")
    assert "Heuristics.Limits.Exceeded.MaxFileSize" in detail
    (folder / "large.bin").write_bytes(bytes(101 << 20))
    ((path, rule, detail),) = said(scan(folder))
    assert "INSTREAM size limit exceeded" in detail


@pytest.mark.parametrize("position", [0, (16 << 20) - 10, (15 << 20) - 10, (40 << 20) - len(PAYLOAD)])
def test_weights_that_are_too_large_for_it_are_looked_at_all_over(scan: Scan, tmp_path: Path, position: int) -> None:
    weights = bytearray(40 << 20)
    weights[position : position + len(PAYLOAD)] = PAYLOAD
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}}).encode()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + weights)
    found = said(scan(folder))
    assert {rule for _, rule, _ in found} == {"scanner.malicious", "scanner.remark"}


def test_archives_that_are_too_deep_for_it_are_not_clean(scan: Scan, folder: Path) -> None:
    inner = PAYLOAD
    for _ in range(20):
        with zipfile.ZipFile(folder / "deep.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("next.zip", inner)
        inner = (folder / "deep.zip").read_bytes()
    ((_, rule, detail),) = said(scan(folder))
    assert rule == "scanner.failed"
    assert "MaxRecursion" in detail


def test_one_that_does_not_say_what_it_skips_is_not_believed(scan: Scan, folder: Path, workspace: Path) -> None:
    with clamd(workspace / "silent", outspoken=False) as silent:
        found = said(scan(folder, silent.path))
    assert {rule for _, rule, _ in found} == {"scanner.failed"}
    assert {path for path, _, _ in found} == {file.path for file in open_checkpoint(folder).files}
    assert "AlertExceedsMax" in found[0][2]


def test_one_that_is_gone_makes_nothing_clean(scan: Scan, folder: Path, workspace: Path) -> None:
    with clamd(workspace / "gone") as daemon:
        assert said(scan(folder, daemon.path)) == []
    report = scan(folder, daemon.path)
    assert {rule for _, rule, _ in said(report)} == {"scanner.failed"}
    assert report.scanners[1].version == "unknown"
