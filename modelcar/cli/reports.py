"""Scan reports for people."""

from __future__ import annotations

from modelcar.cli.output import Output, Table, human_size
from modelcar.scanning.findings import Finding, Severity
from modelcar.scanning.report import Report

__all__ = ["show_findings", "show_report"]


def show_report(output: Output, report: Report) -> None:
    """Files, findings with why and what to do, and the verdict in the last line."""
    rows = [
        [file.path, "+".join(file.formats) or "-", human_size(file.size), str(file.outcome)] for file in report.files
    ]
    output.table(Table(columns=("file", "format", "size", "verdict"), rows=rows, right=frozenset({"size"})))
    show_findings(output, report)
    scanners = ", ".join(f"{each.name} {each.version}" for each in report.scanners[1:])
    rules = f"rules {report.rule_set}" + (f", with {scanners}" if scanners else "")
    output.line(f"{report.outcome}: {report.subject} ({_counted(report)}; {rules})")
    if "digest" in report.facts:
        output.line(str(report.facts["digest"]))


def show_findings(output: Output, report: Report) -> None:
    """One paragraph a finding, the worst first; those of one rule share why and what to do."""
    ranks = list(Severity)
    by_rule: dict[str, list[Finding]] = {}
    for finding in sorted(report.all_findings, key=lambda f: ranks.index(f.severity)):
        by_rule.setdefault(finding.rule.id, []).append(finding)
    for findings in by_rule.values():
        rule = findings[0].rule
        output.line("")
        output.line(f"{rule.severity}: {rule.title} [{rule.id}]")
        for finding in findings:
            where = finding.path if finding.offset is None else f"{finding.path} at byte {finding.offset}"
            by = "" if finding.scanner == "modelcar" else f" ({finding.scanner})"
            output.line(f"  {where}{': ' if finding.detail else ''}{finding.detail}{by}")
        output.line(f"  why: {rule.why}")
        output.line(f"  do:  {rule.fix}")
    if by_rule:
        output.line("")


def _counted(report: Report) -> str:
    files, findings = len(report.files), len(report.all_findings)
    return f"{files} file{'s' * (files != 1)}, {findings or 'no'} finding{'s' * (findings != 1)}"
