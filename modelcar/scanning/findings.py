"""What a scan can find: rules, findings under them, and what all of them come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelcar.checkpoint.formats.reader import printable

__all__ = ["Finding", "Outcome", "Rule", "Severity", "outcome_of", "shown"]


class Severity(StrEnum):
    """How bad a finding is, worst first.

    `MALICIOUS`: made to do harm. `FORBIDDEN`: not malicious, and must not be shipped: a secret, a licence that a policy
    denies. `UNVERIFIED`: nobody can say. `NOTE`: worth knowing, and no reason to refuse anything.
    """

    MALICIOUS = "malicious"
    FORBIDDEN = "forbidden"
    UNVERIFIED = "unverified"
    NOTE = "note"


class Outcome(StrEnum):
    """What a scan comes to. `MALICIOUS` covers what is forbidden, too."""

    CLEAN = "clean"
    UNVERIFIED = "unverified"
    MALICIOUS = "malicious"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Something that is looked for.

    Attributes:
        id: `family.what`, such as `pickle.dangerous-global`; never changes its meaning.
        title: what it says when it is found, a few words.
        why: why it matters, a sentence.
        fix: what to do about it, a sentence.
    """

    id: str
    severity: Severity
    title: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that applies at one place.

    Attributes:
        path: the file; members of archives follow behind a `!`, as in `model.bin!archive/data.pkl`.
        offset: bytes from the start of the innermost file; `None` where it is about the whole.
        detail: what exactly was found there, one printable line; may be empty.
        scanner: who found it.
    """

    rule: Rule
    path: str
    offset: int | None = None
    detail: str = ""
    scanner: str = "modelcar"

    @property
    def severity(self) -> Severity:
        return self.rule.severity

    @property
    def message(self) -> str:
        """The title, and the detail if there is one."""
        return f"{self.rule.title}: {self.detail}" if self.detail else self.rule.title

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"rule": self.rule.id, "severity": str(self.severity), "path": self.path}
        if self.offset is not None:
            result["offset"] = self.offset
        if self.scanner != "modelcar":
            result["scanner"] = self.scanner
        rule = {"title": self.rule.title, "detail": self.detail, "why": self.rule.why, "fix": self.rule.fix}
        return {**result, **rule}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """What `to_dict` made; only of a document that this program wrote itself."""
        return cls(
            rule=Rule(
                id=data["rule"],
                severity=Severity(data["severity"]),
                title=data["title"],
                why=data["why"],
                fix=data["fix"],
            ),
            path=data["path"],
            offset=data.get("offset"),
            detail=data["detail"],
            scanner=data.get("scanner", "modelcar"),
        )


def outcome_of(findings: Iterable[Finding]) -> Outcome:
    """The worst of them decides."""
    severities = {finding.severity for finding in findings}
    if severities & {Severity.MALICIOUS, Severity.FORBIDDEN}:
        return Outcome.MALICIOUS
    return Outcome.UNVERIFIED if Severity.UNVERIFIED in severities else Outcome.CLEAN


def shown(text: str, limit: int = 200) -> str:
    """`text` from a hostile file, for a detail: one line, no control characters, bounded, in quotes."""
    return printable(text, limit)
