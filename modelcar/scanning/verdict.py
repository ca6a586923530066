"""A report as the predicate of a signed statement: `docs/formats/scan-verdict.md`."""

from __future__ import annotations

from typing import Any, Final

from modelcar.scanning.findings import Outcome, Severity
from modelcar.scanning.report import Report

__all__ = ["scan_predicate"]

_MOST_FINDINGS: Final = 500  # in a statement; the worst come first


def scan_predicate(report: Report) -> dict[str, Any]:
    """What `report` says of its image.

    A verdict *malicious* holds for ever, whoever gives another later. So it is only for what is malicious: what is
    merely forbidden here and now, such as a licence, makes the signed verdict *unverified* and is named.
    """
    ranks = list(Severity)
    findings = sorted(report.all_findings, key=lambda finding: ranks.index(finding.severity))
    verdict = report.outcome
    if verdict is Outcome.MALICIOUS and not any(f.severity is Severity.MALICIOUS for f in findings):
        verdict = Outcome.UNVERIFIED
    predicate: dict[str, Any] = {
        "verdict": str(verdict),
        "ruleSet": {"name": report.rule_set.name, "version": report.rule_set.version},
        "scannedAt": f"{report.scanned_at:%Y-%m-%dT%H:%M:%SZ}",
        "scope": report.facts.get("scope", "everything"),
        "scanners": [{"name": s.name, "version": s.version} for s in report.scanners],
        "files": len(report.files),
        "findings": [_finding(f.to_dict()) for f in findings[:_MOST_FINDINGS]],
    }
    if len(findings) > _MOST_FINDINGS:
        predicate["findingsLeftOut"] = len(findings) - _MOST_FINDINGS
    return predicate


def _finding(finding: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in finding.items() if key not in ("why", "fix")}
