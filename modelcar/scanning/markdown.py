"""A report as Markdown, for the summary of a CI job.

Names and details come from hostile files. They are shown as code with every mark of punctuation as a character
reference, which no Markdown reader takes for structure: no link, image, mention or table cell comes of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from modelcar.scanning.findings import Finding, Outcome, Severity
from modelcar.scanning.report import Report

__all__ = ["to_markdown"]

_MOST_FINDINGS: Final = 50  # a job's summary may have 1 MiB
_MOST_TEXT: Final = 300  # characters of a cell
_MARKS: Final = {Outcome.CLEAN: "✅", Outcome.UNVERIFIED: "⚠️", Outcome.MALICIOUS: "❌"}
_STRUCTURE: Final = re.compile(r"[^A-Za-z0-9 /.,;=+-]")


def to_markdown(report: Report) -> str:
    """A heading with the verdict, what was looked at, and a table of the findings, the worst first."""
    files, findings = report.files, report.all_findings
    scanners = ", ".join(f"{each.name} {each.version}" for each in report.scanners)
    lines = [
        f"### {_MARKS[report.outcome]} Scan: {report.outcome}",
        "",
        "| | |",
        "|---|---|",
        f"| subject | {_code(report.subject)} |",
        *([f"| digest | {_code(str(report.facts['digest']))} |"] if "digest" in report.facts else []),
        f"| files | {len(files)}, of which {sum(f.outcome is Outcome.CLEAN for f in files)} are clean |",
        f"| rules | {_code(str(report.rule_set))} |",
        f"| scanners | {_code(scanners)} |",
        f"| scanned | {report.scanned_at:%Y-%m-%d %H:%M:%S} UTC |",
        *_table(findings),
    ]
    return "\n".join(lines) + "\n"


def _table(findings: Iterable[Finding]) -> list[str]:
    ranks = list(Severity)
    ordered = sorted(findings, key=lambda f: ranks.index(f.severity))
    if not ordered:
        return []
    rows = [
        f"| {f.severity} | {_code(_place(f))} | {_code(f.message)} | {_code(f.rule.id)} |"
        for f in ordered[:_MOST_FINDINGS]
    ]
    more = len(ordered) - len(rows)
    head = ["", "| severity | where | what | rule |", "|---|---|---|---|"]
    return [*head, *rows, *(["", f"… and {more} more; the SARIF file has all of them."] if more else [])]


def _place(finding: Finding) -> str:
    return finding.path if finding.offset is None else f"{finding.path} at byte {finding.offset}"


def _code(text: str) -> str:
    shown = text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"
    return f"<code>{_STRUCTURE.sub(_reference, shown)}</code>"


def _reference(found: re.Match[str]) -> str:
    """What nobody can see, such as a mark that turns the direction of writing, is shown as what cannot be shown."""
    return f"&#{ord(found[0]) if found[0].isprintable() else 0xFFFD};"
