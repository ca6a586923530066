"""A report as the predicate of a signed statement: `docs/formats/scan-verdict.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelcar.oci import compact_json
from modelcar.scanning.findings import Finding, Outcome, Severity
from modelcar.scanning.report import Report

__all__ = ["scan_predicate"]

_MOST_FINDINGS: Final = 500  # in a statement; the worst come first
_MOST_BYTES: Final = 256 << 10  # of them: who reads evidence stops at a bound, and one statement must not reach it


def scan_predicate(report: Report) -> dict[str, Any]:
    """What `report` says of its image.

    A verdict *malicious* holds for ever, whoever gives another later. So it is only for what is malicious: what is
    merely forbidden here and now, such as a licence, makes the signed verdict *unverified* and is named; so does what
    a quick scan saw, as nobody has checked that those were the image's bytes.
    """
    ranks = list(Severity)
    findings = sorted(report.all_findings, key=lambda finding: ranks.index(finding.severity))
    verdict = report.outcome
    scope = report.facts.get("scope", "everything")
    is_proven = scope == "everything" and any(f.severity is Severity.MALICIOUS for f in findings)
    if verdict is Outcome.MALICIOUS and not is_proven:
        verdict = Outcome.UNVERIFIED
    listed = _listed(findings)
    predicate: dict[str, Any] = {
        "verdict": str(verdict),
        "ruleSet": {"name": report.rule_set.name, "version": report.rule_set.version},
        "scannedAt": f"{report.scanned_at:%Y-%m-%dT%H:%M:%SZ}",
        "scope": scope,
        "scanners": [{"name": s.name, "version": s.version} for s in report.scanners],
        "files": len(report.files),
        "findings": listed,
    }
    if len(findings) > len(listed):
        predicate["findingsLeftOut"] = len(findings) - len(listed)
    return predicate


def _listed(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    left = _MOST_BYTES
    for finding in findings[:_MOST_FINDINGS]:
        entry = {key: value for key, value in finding.to_dict().items() if key not in ("why", "fix")}
        left -= len(compact_json(entry))
        if left < 0:
            break
        listed.append(entry)
    return listed
