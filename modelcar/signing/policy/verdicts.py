"""Scan verdicts: what a scanner's signed statement says of a manifest, and what a policy asks of it.

The predicate is documented in `docs/formats/scan-verdict.md`, with a JSON Schema beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from modelcar.errors import InvalidDocument
from modelcar.oci.document import Fields
from modelcar.signing.policy.authorities import AuthoritySpec, parse_authorities
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.ruleset import RuleSet
from modelcar.signing.verified import Verified

__all__ = ["ScanRequirement", "Verdict", "parse_scan", "parse_verdict"]

_SKEW: Final = timedelta(minutes=5)  # by which two clocks may differ
_VERSION: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION: Final = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?(?:(\d{1,8})s)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one statement says. `scanned_at` is the earlier of what it says itself and when it was signed."""

    verdict: Literal["clean", "unverified"]
    rule_set: RuleSet
    scanned_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequirement:
    """A clean verdict of one of `authorities`, not older than `max_age`, by at least `rule_set`."""

    authorities: tuple[AuthoritySpec, ...]
    max_age: timedelta
    rule_set: RuleSet

    def shortcoming(self, verdict: Verdict, now: datetime) -> str | None:
        """Why `verdict` does not do; `None` if it does."""
        if verdict.verdict != "clean":
            return f"the scan of {verdict.scanned_at:%Y-%m-%d %H:%M}Z came to no verdict: {verdict.verdict}"
        if verdict.scanned_at > now + _SKEW:
            return f"the scan is dated {verdict.scanned_at:%Y-%m-%d %H:%M}Z, in the future"
        if (age := now - verdict.scanned_at) > self.max_age:
            return f"the scan is {age.days} days old; {self.max_age} is the most"
        if not verdict.rule_set.reaches(self.rule_set):
            return f"the scan went by the rules {verdict.rule_set}; {self.rule_set} is the least"
        return None


def parse_verdict(statement: Verified) -> Verdict | None:
    """The verdict in a verified statement of type `SCAN_VERDICT`; `None` for *malicious*, which needs nothing else.

    Raises:
        InvalidDocument: it says neither; that counts as no verdict at all.
    """
    predicate: Mapping[str, Any] = statement.predicate
    if predicate.get("verdict") == "malicious":
        return None
    fields = Fields(predicate, "verdict")
    if (said := fields.text("verdict")) not in ("clean", "unverified"):
        raise InvalidDocument(f"verdict.verdict is {said[:80]!r}")
    rules = fields.optional_object("ruleSet")
    if rules is None:
        raise InvalidDocument("verdict.ruleSet is missing")
    version = rules.text("version")
    if not _VERSION.fullmatch(version):
        raise InvalidDocument("verdict.ruleSet.version is not made of numbers and dots")
    scanned_at = _time(fields.text("scannedAt"))
    return Verdict(
        verdict="clean" if said == "clean" else "unverified",
        rule_set=RuleSet(name=rules.text("name"), version=version),
        scanned_at=min(scanned_at, statement.signed_at) if statement.signed_at else scanned_at,
    )


def parse_scan(spec: ClosedFields) -> ScanRequirement | None:
    """`scan` of a ModelPolicy."""
    scan = spec.optional_object("scan", ("authorities", "maxAge", "ruleSet"))
    if scan is None:
        return None
    rules = scan.object("ruleSet", ("name", "minVersion"))
    version = rules.text("minVersion")
    if not _VERSION.fullmatch(version):
        raise rules.fail("minVersion", f"is {version[:80]!r}", hint="numbers and dots, in quotes: '2026.11'")
    return ScanRequirement(
        authorities=parse_authorities(scan, verdicts=True),
        max_age=_duration(scan),
        rule_set=RuleSet(name=rules.text("name"), version=version),
    )


def _duration(scan: ClosedFields) -> timedelta:
    text = scan.text("maxAge")
    match = _DURATION.fullmatch(text)
    if match is None or not any(int(part or 0) for part in match.groups()):
        raise scan.fail("maxAge", f"is {text[:80]!r}, not a duration", hint="such as 30d, 720h or 90m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _time(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise InvalidDocument("verdict.scannedAt is not an RFC 3339 time")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidDocument("verdict.scannedAt is not a time") from None
