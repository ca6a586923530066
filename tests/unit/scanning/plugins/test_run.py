"""Whatever another scanner says or does, a verdict does not get better by it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, cast

import pytest

from modelcar.scanning.content import literal
from modelcar.scanning.findings import Finding, Severity, outcome_of
from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins import FileUnderScan, PluginFinding, ScannerFailed
from modelcar.scanning.plugins.run import run_plugins
from tests.unit.scanning.plugins.conftest import Fake, ask, loaded


def said(severity: Severity, title: str = "t", **more: Any) -> PluginFinding:
    return PluginFinding(severity=severity, title=title, **more)


def rules(findings: Iterable[Finding]) -> list[str]:
    return [finding.rule.id for finding in findings]


@pytest.mark.parametrize(
    ("severity", "rule"),
    [
        (Severity.MALICIOUS, "scanner.malicious"),
        (Severity.FORBIDDEN, "scanner.forbidden"),
        (Severity.UNVERIFIED, "scanner.suspicious"),
        (Severity.NOTE, "scanner.remark"),
    ],
)
def test_what_it_finds_is_a_finding_as_bad_as_it_says(severity: Severity, rule: str) -> None:
    (finding,) = ask(lambda _: [said(severity, "Worm.X", detail="in a loop", offset=7, member="a/b.pkl")])
    assert (finding.rule.id, finding.severity, finding.scanner) == (rule, severity, "fake")
    assert (finding.path, finding.offset) == ("sub/model.bin!a/b.pkl", 7)
    assert finding.detail == "fake: Worm.X: in a loop"


def test_nothing_found_adds_nothing() -> None:
    assert ask(lambda _: []) == []


@pytest.mark.parametrize("error", [ScannerFailed("no"), OSError("no"), RecursionError(), MemoryError(), KeyError()])
def test_a_failure_is_unverified_and_what_was_found_before_counts(error: Exception) -> None:
    def scan(file: FileUnderScan) -> Iterator[PluginFinding]:
        yield said(Severity.NOTE)
        raise error

    findings = ask(scan)
    assert rules(findings) == ["scanner.remark", "scanner.failed"]
    assert findings[1].severity is Severity.UNVERIFIED
    assert findings[1].detail.startswith("fake: ")


def test_an_exception_before_the_first_answer_is_a_failure() -> None:
    def scan(file: FileUnderScan) -> Iterable[PluginFinding]:
        raise ScannerFailed("the daemon\nis gone")

    (finding,) = ask(scan)
    assert (finding.rule.id, finding.detail) == (
        "scanner.failed",
        "fake: the daemon\N{REPLACEMENT CHARACTER}is gone",
    )


@pytest.mark.parametrize("answer", ["clean", None, {"severity": "note"}, said(cast("Severity", "clean"))])
def test_an_answer_that_makes_no_sense_is_a_failure(answer: object) -> None:
    assert rules(ask(lambda _: cast("list[PluginFinding]", [answer]))) == ["scanner.failed"]


@pytest.mark.parametrize("offset", [-1, 11, True, "7", 1.5])
def test_an_offset_outside_the_file_is_left_out(offset: object) -> None:
    (finding,) = ask(lambda _: [said(Severity.NOTE, offset=cast("int", offset))])
    assert finding.offset is None


def test_an_offset_in_a_member_may_lie_beyond_the_compressed_file() -> None:
    (finding,) = ask(lambda _: [said(Severity.NOTE, offset=11, member="x")])
    assert finding.offset == 11


def test_words_from_the_file_are_made_printable_and_short() -> None:
    (finding,) = ask(lambda _: [said(Severity.NOTE, "\x1b[31m" + "x" * 1000, member="\r\n" + "y" * 1000)])
    assert "\x1b" not in finding.detail
    assert finding.path.isprintable()
    assert len(finding.detail) < 220
    assert len(finding.path) < 220


def test_findings_without_end_keep_the_worst() -> None:
    def scan(file: FileUnderScan) -> Iterator[PluginFinding]:
        yield from (said(Severity.NOTE, str(number)) for number in range(100))
        yield said(Severity.MALICIOUS)

    findings = ask(scan, limits=Limits(findings=5))
    assert sorted(rules(findings)) == ["scan.more-findings", "scanner.malicious", *["scanner.remark"] * 4]
    assert findings[-1].detail == "fake: 96 further findings are not listed"


def test_a_scanner_that_never_stops_is_stopped() -> None:
    def scan(file: FileUnderScan) -> Iterator[PluginFinding]:
        while True:
            yield said(Severity.NOTE)

    findings = ask(scan, limits=Limits(seconds=0.05))
    assert rules(findings) == ["scanner.remark", "scanner.failed"]
    assert findings[1].detail == "fake: it took too long"


def test_time_is_up_for_who_reads_the_file_too_slowly() -> None:
    def scan(file: FileUnderScan) -> Iterator[PluginFinding]:
        time.sleep(0.02)
        yield from (said(Severity.NOTE) for _ in file.pieces())

    assert rules(ask(scan, limits=Limits(seconds=0.01))) == ["scanner.failed"]


def test_every_scanner_is_asked_and_one_does_not_silence_another() -> None:
    def fail(file: FileUnderScan) -> Iterable[PluginFinding]:
        raise ScannerFailed("no")

    scanners = [Fake(fail), Fake(lambda _: []), Fake(lambda _: [said(Severity.MALICIOUS)])]
    file = FileUnderScan(path="f", content=literal(b"x"))
    findings = run_plugins([loaded(scanner) for scanner in scanners], file, Limits())
    assert rules(findings) == ["scanner.failed", "scanner.malicious"]
    assert outcome_of(findings) == "malicious"


def test_a_file_that_it_does_not_want_is_not_held_against_it() -> None:
    class Picky(Fake):
        def wants(self, file: FileUnderScan) -> bool:
            return file.formats != ("json",)

    def scan(formats: tuple[str, ...]) -> list[Finding]:
        file = FileUnderScan(path="f", content=literal(b"x"), formats=formats)
        return run_plugins([loaded(Picky(lambda _: [said(Severity.MALICIOUS)]))], file, Limits())

    assert scan(("json",)) == []
    assert rules(scan(())) == ["scanner.malicious"]
