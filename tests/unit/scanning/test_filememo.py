"""Reports on the files of a source: what counts, and what is looked at again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import Checkpoint, CheckpointFile, open_checkpoint
from modelcar.scanning.checkpoint import scan_file
from modelcar.scanning.filememo import FileMemo
from modelcar.scanning.files import FileScanner
from modelcar.scanning.limits import Limits
from modelcar.scanning.report import FileReport
from modelcar.scanning.settings import ScanSettings
from tests.support.checkpoints import make_checkpoint

SCANNER = FileScanner(ScanSettings())
LATER = 10 * 10**9  # nanoseconds


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(str(make_checkpoint(tmp_path / "model")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "scans" / "sources"


def scanned(checkpoint: Checkpoint, began_ns: int | None = None) -> list[tuple[CheckpointFile, FileReport, int]]:
    began = time.time_ns() + LATER if began_ns is None else began_ns
    return [(file, scan_file(file, SCANNER), began) for file in checkpoint.files]


def test_what_was_clean_is_known(checkpoint: Checkpoint, folder: Path) -> None:
    found = scanned(checkpoint)
    FileMemo(folder, "hf://org/name").put(found, SCANNER)
    again = FileMemo(folder, "hf://org/name")
    assert [again.get(file, SCANNER) for file, _, _ in found] == [report for _, report, _ in found]
    assert FileMemo(folder, "hf://org/other").get(found[0][0], SCANNER) is None


def test_a_file_in_another_state_is_new(checkpoint: Checkpoint, folder: Path) -> None:
    found = scanned(checkpoint)
    FileMemo(folder, "s").put(found, SCANNER)
    file = found[0][0]
    for change in ({"mtime_ns": 1}, {"ctime_ns": 1}, {"inode": 1}, {"size": 1}):
        assert FileMemo(folder, "s").get(replace(file, stamp=replace(file.stamp, **change)), SCANNER) is None
    assert FileMemo(folder, "s").get(replace(file, path="another"), SCANNER) is None
    assert FileMemo(folder, "s").get(replace(file, awaited=True), SCANNER) is None


def test_a_file_that_is_not_here_counts_by_what_its_source_promises(checkpoint: Checkpoint, folder: Path) -> None:
    found = [(replace(file, known_sha256="ab" * 32), report, began) for file, report, began in scanned(checkpoint)]
    FileMemo(folder, "s").put(found, SCANNER)
    file, report, _ = found[0]
    away = replace(file, awaited=True)
    assert FileMemo(folder, "s").get(away, SCANNER) == report
    assert FileMemo(folder, "s").get(replace(away, known_sha256="cd" * 32), SCANNER) is None
    assert FileMemo(folder, "s").get(replace(away, known_sha256=None), SCANNER) is None
    FileMemo(folder, "s").put([(away, report, time.time_ns())], SCANNER)
    assert FileMemo(folder, "s").get(away, SCANNER) == report, "and the next time"


def test_what_was_only_read_from_afar_is_not_kept(checkpoint: Checkpoint, folder: Path) -> None:
    """Nobody has hashed those bytes."""
    found = [(replace(f, awaited=True, known_sha256="ab" * 32), report, at) for f, report, at in scanned(checkpoint)]
    FileMemo(folder, "s").put(found, SCANNER)
    assert FileMemo(folder, "s").get(found[0][0], SCANNER) is None


def test_reports_are_kept_one_by_one(checkpoint: Checkpoint, folder: Path) -> None:
    """A build that is killed has looked at some of them."""
    first, second, *_ = found = scanned(checkpoint)
    for each in (first, second):
        FileMemo(folder, "s").put([each], SCANNER, complete=False)
    assert [FileMemo(folder, "s").get(file, SCANNER) for file, _, _ in (first, second)] == [first[1], second[1]]
    FileMemo(folder, "s").put([second], SCANNER)
    assert FileMemo(folder, "s").get(found[0][0], SCANNER) is None, "these are all"


def test_several_threads_ask_at_once(checkpoint: Checkpoint, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while the document is read waits for it."""
    found = scanned(checkpoint)
    FileMemo(folder, "s").put(found, SCANNER)
    reading, second = threading.Event(), threading.Event()
    load, memo = FileMemo._load, FileMemo(folder, "s")

    def slowly(self: FileMemo, scanner: FileScanner) -> dict[str, Any]:
        reading.set()
        second.wait(0.2)
        return load(self, scanner)

    monkeypatch.setattr(FileMemo, "_load", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memo.get, found[0][0], SCANNER)
        assert reading.wait(10)
        other = pool.submit(memo.get, found[1][0], SCANNER)
        assert [first.result(), other.result()] == [found[0][1], found[1][1]]


def test_what_was_changed_just_before_is_not_kept(checkpoint: Checkpoint, folder: Path) -> None:
    newest = max(file.stamp.ctime_ns for file in checkpoint.files)
    found = [each for each in scanned(checkpoint, newest) if each[0].stamp.ctime_ns == newest]
    FileMemo(folder, "s").put(found, SCANNER)
    assert FileMemo(folder, "s").get(found[0][0], SCANNER) is None


def test_other_settings_look_again(checkpoint: Checkpoint, folder: Path) -> None:
    found = scanned(checkpoint)
    FileMemo(folder, "s").put(found, SCANNER)
    other = FileScanner(ScanSettings(limits=Limits(seconds=1.5)))
    assert FileMemo(folder, "s").get(found[0][0], other) is None


def test_only_what_is_clean_is_kept(tmp_path: Path, folder: Path) -> None:
    model = make_checkpoint(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(b"\x80\x02cposix\nsystem\nU\x02idR.")
    found = scanned(open_checkpoint(str(model)))
    FileMemo(folder, "s").put(found, SCANNER)
    known = {file.path for file, _, _ in found if FileMemo(folder, "s").get(file, SCANNER) is not None}
    assert known == {file.path for file, _, _ in found} - {"pytorch_model.bin"}


def test_nobody_else_has_a_say(checkpoint: Checkpoint, folder: Path) -> None:
    found = scanned(checkpoint)
    FileMemo(folder, "s").put(found, SCANNER)
    (document,) = folder.iterdir()
    document.chmod(0o644)
    assert FileMemo(folder, "s").get(found[0][0], SCANNER) is None
    document.chmod(0o600)
    document.write_bytes(b"{")
    assert FileMemo(folder, "s").get(found[0][0], SCANNER) is None
    folder.chmod(0o755)
    FileMemo(folder, "s").put(found, SCANNER)
    assert document.read_bytes() == b"{"
