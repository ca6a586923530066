"""A report as SARIF 2.1.0, which code scanning services read.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from modelcar.scanning.findings import Finding, Rule, Severity
from modelcar.scanning.report import Report

__all__ = ["to_sarif"]

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final = {
    Severity.MALICIOUS: "error",
    Severity.FORBIDDEN: "error",
    Severity.UNVERIFIED: "warning",
    Severity.NOTE: "note",
}
_SCORES: Final = {  # GitHub's order: critical above 9, high above 7, medium above 4
    Severity.MALICIOUS: "9.5",
    Severity.FORBIDDEN: "7.5",
    Severity.UNVERIFIED: "5.0",
    Severity.NOTE: "1.0",
}


def to_sarif(report: Report) -> dict[str, Any]:
    """One run with one result a finding. Its place is the file; offsets in members of archives are properties."""
    rules = {finding.rule.id: finding.rule for finding in report.all_findings}
    numbers = {rule: i for i, rule in enumerate(rules)}
    scanner = report.scanners[0]
    driver = {
        "name": scanner.name,
        "version": scanner.version,
        "rules": [_rule(rule) for rule in rules.values()],
    }
    others = [{"name": other.name, "version": other.version} for other in report.scanners[1:]]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver, **({"extensions": others} if others else {})},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True, "endTimeUtc": f"{report.scanned_at:%Y-%m-%dT%H:%M:%SZ}"}],
                "properties": {"subject": report.subject, "verdict": str(report.outcome)},
                "results": [
                    *(_result(finding, finding.path, numbers) for finding in report.findings),
                    *(_result(finding, file.path, numbers) for file in report.files for finding in file.findings),
                ],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.title[:1].upper()}{rule.title[1:]}."},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"security-severity": _SCORES[rule.severity], "tags": ["security", str(rule.severity)]},
    }


def _result(finding: Finding, file: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(file.lstrip("/"), errors="replace")}}
    location: dict[str, Any] = {"physicalLocation": place}
    result: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": numbers[finding.rule.id],
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [location],
    }
    if finding.path != file:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path, "kind": "member"}]
    if finding.offset is not None and finding.path == file:
        place["region"] = {"byteOffset": finding.offset}
    elif finding.offset is not None:
        result["properties"] = {"offset": finding.offset}
    return result
