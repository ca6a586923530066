"""Reports that are at hand: only this user's own, only by the present rules, only whole ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from modelcar.images.scans import scan_at
from modelcar.oci import Digest
from modelcar.scanning import memo as memo_module
from modelcar.scanning.files import OURS, FileScanner
from modelcar.scanning.findings import Finding
from modelcar.scanning.limits import Limits
from modelcar.scanning.memo import ReportMemo
from modelcar.scanning.plugins.rules import FAILED
from modelcar.scanning.report import FileReport, Report
from modelcar.scanning.settings import ScanSettings
from modelcar.scanning.version import RULE_SET
from modelcar.signing.places import LayoutPlace
from modelcar.signing.policy.licenses import LicenseRule
from modelcar.signing.ruleset import RuleSet
from modelcar.store import LocalStore
from tests.support.scanned_images import image_of, layer_of
from tests.support.scanning import findings_in

IMAGE = Digest.of(b"image")
SCANNER = FileScanner(ScanSettings())


def report_on(name: str, data: bytes, *findings: Finding) -> Report:
    found = (*findings_in(name, data), *findings)
    file = FileReport(path=name, size=len(data), formats=("text",), findings=found, layer=Digest.of(data))
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    facts = {"digest": str(IMAGE), "scope": "everything"}
    return Report(subject="x", files=(file,), rule_set=RULE_SET, scanners=(OURS,), scanned_at=at, facts=facts)


REPORT = report_on("modeling.py", b"print(1)\n")


@pytest.fixture
def memo(tmp_path: Path) -> ReportMemo:
    return ReportMemo(tmp_path / "scans")


def test_a_report_comes_back_as_it_was(memo: ReportMemo) -> None:
    assert memo.get(IMAGE, SCANNER) is None
    memo.put(IMAGE, REPORT, SCANNER)
    assert memo.get(IMAGE, SCANNER) == REPORT
    assert memo.get(Digest.of(b"other"), SCANNER) is None
    memo.forget(IMAGE)
    assert memo.get(IMAGE, SCANNER) is None


@pytest.mark.parametrize(
    "settings",
    [
        ScanSettings(limits=Limits(seconds=1)),
        ScanSettings(trusted_layers=frozenset({IMAGE})),
        ScanSettings(licenses=(LicenseRule(allowed=("MIT",)),)),
    ],
)
def test_other_settings_are_another_scan(memo: ReportMemo, settings: ScanSettings) -> None:
    memo.put(IMAGE, REPORT, SCANNER)
    assert memo.get(IMAGE, FileScanner(settings)) is None
    assert memo.get(IMAGE, FileScanner(ScanSettings(spool=Path("/elsewhere")))) == REPORT


def test_other_rules_are_another_scan(memo: ReportMemo, monkeypatch: pytest.MonkeyPatch) -> None:
    memo.put(IMAGE, REPORT, SCANNER)
    monkeypatch.setattr(memo_module, "RULE_SET", RuleSet(name="modelcar", version="9999.1"))
    assert memo.get(IMAGE, SCANNER) is None


def test_that_another_scanner_failed_is_not_remembered(memo: ReportMemo) -> None:
    memo.put(IMAGE, report_on("a", b"x", Finding(rule=FAILED, path="a", scanner="clamav")), SCANNER)
    assert memo.get(IMAGE, SCANNER) is None


def open_folder(memo: ReportMemo) -> None:
    memo.folder.chmod(0o770)


def open_file(memo: ReportMemo) -> None:
    next(memo.folder.iterdir()).chmod(0o620)


def link_file(memo: ReportMemo) -> None:
    (file,) = memo.folder.iterdir()
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


def link_folder(memo: ReportMemo) -> None:
    memo.folder.rename(memo.folder.with_name("elsewhere"))
    memo.folder.symlink_to(memo.folder.with_name("elsewhere"))


def give_away(memo: ReportMemo) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(next(memo.folder.iterdir()), 12345, 12345)


@pytest.mark.parametrize("spoil", [open_folder, open_file, link_file, link_folder, give_away])
def test_what_others_may_have_written_is_void(memo: ReportMemo, spoil: Callable[[ReportMemo], None]) -> None:
    memo.put(IMAGE, REPORT, SCANNER)
    spoil(memo)
    assert memo.get(IMAGE, SCANNER) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"by": {}, "report": {}}', b"\xff", b"[" * 100_000, b'{"report": 1']
)
def test_what_is_damaged_is_void(memo: ReportMemo, content: bytes) -> None:
    memo.put(IMAGE, REPORT, SCANNER)
    (file,) = memo.folder.iterdir()
    file.write_bytes(content)
    assert memo.get(IMAGE, SCANNER) is None


def test_parts_that_are_missing(memo: ReportMemo) -> None:
    memo.put(IMAGE, REPORT, SCANNER)
    (file,) = memo.folder.iterdir()
    whole = json.loads(file.read_bytes())
    for name in whole["report"].keys() - {"scope", "verdict"}:
        part = {key: value for key, value in whole["report"].items() if key != name}
        file.write_text(json.dumps({**whole, "report": part}))
        assert memo.get(IMAGE, SCANNER) is None, name


def test_a_report_on_another_image(memo: ReportMemo) -> None:
    memo.put(IMAGE, REPORT, SCANNER)
    (file,) = memo.folder.iterdir()
    other = Digest.of(b"other")
    file.rename(file.with_name(f"sha256-{other.hex}.json"))
    assert memo.get(other, SCANNER) is None


def test_many_writers_at_once(memo: ReportMemo) -> None:
    reports = [replace(REPORT, subject=str(i)) for i in range(8)]
    threads = [Thread(target=memo.put, args=(IMAGE, report, SCANNER)) for report in reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memo.get(IMAGE, SCANNER) in reports
    assert len([*memo.folder.iterdir()]) == 1


def test_a_folder_that_cannot_be_written_to_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    memo = ReportMemo(tmp_path / "file" / "scans")
    memo.put(IMAGE, REPORT, SCANNER)
    assert memo.get(IMAGE, SCANNER) is None


def test_an_image_of_two_names_is_called_by_the_one_that_was_asked_for(tmp_path: Path, memo: ReportMemo) -> None:
    store = LocalStore(tmp_path / "home")
    root = image_of(store, [layer_of(store, {"models/README.md": b"# x\n"}, None)])
    place = LayoutPlace(store.content)
    first = scan_at(place, root, subject="first", memo=memo)
    again = scan_at(place, root, subject="second", memo=memo)
    assert again == replace(first, subject="second", scanned_at=again.scanned_at)
    assert (first.scanned_at - again.scanned_at).total_seconds() < 1
