"""What is accounted for, what is not, and what parsers' failures mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelcar.errors import StorageError
from modelcar.scanning.content import Content, literal
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.filescan import FileScan, Format, Malformed
from modelcar.scanning.findings import Finding, Outcome, Rule, Severity, outcome_of
from modelcar.scanning.limits import Budget, LimitExceeded, Limits
from tests.support.scanning import outcome, rules_found
from tests.support.weights import safetensors_bytes

RULE = Rule(id="test.rule", severity=Severity.MALICIOUS, title="t", why="w", fix="f")
MILD = Rule(id="test.mild", severity=Severity.NOTE, title="t", why="w", fix="f")
NO_LIMITS = Limits()


def scanned(
    *parsers: Callable[[FileScan], None], data: bytes = b"0123456789", limits: Limits = NO_LIMITS
) -> tuple[Finding, ...]:
    formats = [Format(name=str(i), matches=lambda _: True, scan=parser) for i, parser in enumerate(parsers)]
    return scan_content("f", literal(data), formats, Budget(limits=limits))[1]


def ids(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.rule.id for finding in findings]


def test_what_nobody_knows_is_unverified() -> None:
    assert ids(scanned()) == ["file.unknown-format"]


def test_a_parser_that_accounts_for_everything_makes_it_clean() -> None:
    assert scanned(FileScan.account_for_all) == ()


def test_every_gap_is_named_with_its_offset() -> None:
    def parser(scan: FileScan) -> None:
        scan.account(6, 2)
        scan.account(1, 3)
        scan.account(2, 1)

    assert [(f.rule.id, f.offset, f.detail) for f in scanned(parser)] == [
        ("file.unaccounted-bytes", 0, "1 bytes"),
        ("file.unaccounted-bytes", 4, "2 bytes"),
        ("file.unaccounted-bytes", 8, "2 bytes"),
    ]


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (Malformed("bad"), "file.malformed"),
        (LimitExceeded("much"), "scan.limit-exceeded"),
        (RecursionError(), "scan.limit-exceeded"),
        (MemoryError(), "scan.limit-exceeded"),
        (KeyError("x"), "scan.failed"),
    ],
)
def test_a_parser_that_fails_makes_it_unverified_and_keeps_what_it_found(error: Exception, rule: str) -> None:
    def parser(scan: FileScan) -> None:
        scan.account_for_all()
        scan.found(MILD)
        raise error

    assert ids(scanned(parser)) == ["test.mild", rule]
    assert outcome_of(scanned(parser)) is Outcome.UNVERIFIED


def test_a_disk_that_fails_is_no_verdict() -> None:
    def read_at(offset: int, n: int) -> bytes:
        raise StorageError("cannot read f")

    formats = [Format(name="x", matches=lambda probe: bool(probe.head), scan=FileScan.account_for_all)]
    with pytest.raises(StorageError):
        scan_content("f", Content(read_at, 10), formats, Budget())


def test_two_readings_are_unverified_even_if_both_are_harmless() -> None:
    findings = scanned(FileScan.account_for_all, FileScan.account_for_all)
    assert ids(findings) == ["file.several-formats"]


def test_a_reading_that_finds_nothing_does_not_hide_what_another_finds() -> None:
    assert "test.rule" in ids(scanned(FileScan.account_for_all, lambda scan: scan.found(RULE)))


def test_members_count_for_the_whole_and_are_named_with_it() -> None:
    def parser(scan: FileScan) -> None:
        scan.account_for_all()
        if scan.depth == 0:
            scan.scan_member("in\nside.bin", literal(b"payload"))
        else:
            scan.found(RULE, offset=3)

    (finding,) = scanned(parser)
    assert (finding.path, finding.offset) == ("f!in\N{REPLACEMENT CHARACTER}side.bin", 3)


def test_details_are_one_printable_line_of_bounded_length() -> None:
    def parser(scan: FileScan) -> None:
        scan.account_for_all()
        scan.found(RULE, "\x1b[31m\n" + "x" * 10_000)

    (finding,) = scanned(parser)
    assert finding.message.isprintable()
    assert len(finding.detail) <= 500


def test_archives_are_not_followed_without_end() -> None:
    def parser(scan: FileScan) -> None:
        scan.account_for_all()
        scan.scan_member("again", scan.content)

    assert ids(scanned(parser, limits=Limits(depth=3))) == ["scan.limit-exceeded"]


def test_more_findings_than_fit_keep_the_worst() -> None:
    def parser(scan: FileScan) -> None:
        scan.account_for_all()
        for i in range(10):
            scan.found(MILD, str(i))
        scan.found(RULE)

    findings = scanned(parser, limits=Limits(findings=3))
    assert "test.rule" in ids(findings)
    assert findings[-1].detail == "8 further findings are not listed"


def test_safetensors() -> None:
    good = safetensors_bytes({"a": ("F32", (2,), bytes(8))})
    assert outcome("model.safetensors", good) is Outcome.CLEAN
    assert rules_found("model.safetensors", good + b"x") == {"file.malformed"}
    assert rules_found("model.safetensors", b"") == {"file.malformed"}


def test_a_format_that_leaves_no_doubt_is_read_alone() -> None:
    doubtful = Format(name="a", matches=lambda _: True, scan=lambda scan: scan.found(RULE))
    certain = Format(name="b", matches=lambda _: True, scan=FileScan.account_for_all, sole=True)
    names, findings = scan_content("f", literal(b"data"), [doubtful, certain], Budget())
    assert (names, findings) == (("b",), ())
