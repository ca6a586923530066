"""A report as Markdown: what hostile names and details must not become."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

import pytest

from modelcar.scanning.findings import Finding, Rule, Severity
from modelcar.scanning.markdown import to_markdown
from modelcar.scanning.report import FileReport, Report, Scanner
from modelcar.scanning.version import RULE_SET

_HOSTILE = ["a|b", "![x](https://evil.example/pixel.png)", "<script>", "`code`", "</code></td>", "@everyone #1", "\\|"]


def rule(severity: Severity) -> Rule:
    return Rule(id=f"test.{severity}", severity=severity, title="a title", why="Why.", fix="Fix.")


def report_on(path: str, *findings: Finding) -> Report:
    file = FileReport(path=path, size=1, formats=(), findings=findings)
    scanners = (Scanner(name="modelcar", version="0.1.0"),)
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return Report(subject=path, files=(file,), rule_set=RULE_SET, scanners=scanners, scanned_at=at)


def test_a_clean_report_has_no_table_of_findings() -> None:
    text = to_markdown(report_on("model.safetensors"))
    assert text.startswith("### ✅ Scan: clean\n")
    assert "| files | 1, of which 1 are clean |" in text
    assert "severity" not in text


@pytest.mark.parametrize("hostile", [*_HOSTILE, "two\nlines", "a\u202eb", "\udcff", "größe/模型.bin"])
def test_what_comes_from_files_stays_text(hostile: str) -> None:
    finding = Finding(rule=rule(Severity.MALICIOUS), path=hostile, detail=hostile)
    rows = [line for line in to_markdown(report_on(hostile, finding)).splitlines() if line.startswith("| malicious")]
    (row,) = rows
    cells = row.split("|")
    assert len(cells) == 6
    text = re.fullmatch(r" <code>([A-Za-z0-9 /.,;=+&#-]*)</code> ", cells[2])
    assert text is not None
    shown = "".join(c if c.isprintable() else "\ufffd" for c in hostile)
    assert html.unescape(text[1]) == shown


def test_the_worst_comes_first_and_there_is_an_end() -> None:
    findings = [
        *(Finding(rule=rule(Severity.NOTE), path=f"{i}") for i in range(60)),
        Finding(rule=rule(Severity.MALICIOUS), path="bad", detail="x" * 10_000, offset=7),
    ]
    lines = to_markdown(report_on("m", *findings)).splitlines()
    rows = [line for line in lines if re.match(r"\| (malicious|note) ", line)]
    assert rows[0].startswith("| malicious | <code>bad at byte 7</code> | <code>a title&#58; xxx")
    assert (len(rows), lines[-1]) == (50, "… and 11 more; the SARIF file has all of them.")
    assert max(map(len, lines)) < 1000
