"""Scanning bytes as if they were a file of a checkpoint."""

from __future__ import annotations

from modelcar.scanning.catalogue import FORMATS
from modelcar.scanning.content import literal
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.findings import Finding, Outcome, outcome_of
from modelcar.scanning.limits import Budget, Limits

__all__ = ["findings_in", "outcome", "rules_found"]


def findings_in(name: str, data: bytes, limits: Limits | None = None) -> tuple[Finding, ...]:
    """What the scanner finds in a file called `name`."""
    return scan_content(name, literal(data), FORMATS, Budget(limits=limits or Limits(), size=len(data)))[1]


def rules_found(name: str, data: bytes, limits: Limits | None = None) -> set[str]:
    """The ids of the rules that apply."""
    return {finding.rule.id for finding in findings_in(name, data, limits)}


def outcome(name: str, data: bytes, limits: Limits | None = None) -> Outcome:
    """What the findings come to."""
    return outcome_of(findings_in(name, data, limits))
