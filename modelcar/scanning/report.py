"""What a scan of a checkpoint or an image found, file by file and in all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from modelcar.oci import Digest
from modelcar.scanning.findings import Finding, Outcome, outcome_of
from modelcar.signing.ruleset import RuleSet

__all__ = ["FileReport", "Report", "Scanner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """Who looked: a name and a version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One file.

    Attributes:
        formats: the names of what it can be read as; exactly one where all is well.
        layer: of an image, that it lies in.
    """

    path: str
    size: int
    formats: tuple[str, ...]
    findings: tuple[Finding, ...]
    layer: Digest | None = None

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            **({"layer": str(self.layer)} if self.layer is not None else {}),
            "size": self.size,
            "formats": list(self.formats),
            "verdict": str(self.outcome),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FileReport:
        return cls(
            path=data["path"],
            layer=Digest.parse(data["layer"]) if "layer" in data else None,
            size=data["size"],
            formats=tuple(data["formats"]),
            findings=tuple(Finding.from_dict(finding) for finding in data["findings"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole.

    Attributes:
        subject: what was scanned, for people.
        findings: those that concern no single file.
        facts: further members of the JSON document: of an image its digest and how much of it was read.
    """

    subject: str
    files: tuple[FileReport, ...]
    rule_set: RuleSet
    scanners: tuple[Scanner, ...]
    scanned_at: datetime
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        return (*self.findings, *(finding for file in self.files for finding in file.findings))

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The paths of all that is not *clean*: files for what is in them, or for what concerns no single file."""
        files = [file.path for file in self.files if file.outcome is not Outcome.CLEAN]
        others = [finding.path for finding in self.findings if outcome_of([finding]) is not Outcome.CLEAN]
        return tuple(dict.fromkeys(files + others))

    def within(self, blobs: Collection[Digest]) -> Report:
        """The part that is about one manifest of an image, whose configuration and layers are `blobs`."""
        return replace(self, files=tuple(f for f in self.files if f.layer is None or f.layer in blobs))

    @property
    def outcome(self) -> Outcome:
        """The worst; *unverified* where nothing was scanned at all."""
        return outcome_of(self.all_findings) if self.files else _without_files(self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "verdict": str(self.outcome),
            "ruleSet": {"name": self.rule_set.name, "version": self.rule_set.version},
            "scanners": [{"name": s.name, "version": s.version} for s in self.scanners],
            "scannedAt": f"{self.scanned_at:%Y-%m-%dT%H:%M:%SZ}",
            **self.facts,
            "files": [file.to_dict() for file in self.files],
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """What `to_dict` made; only of a document that this program wrote itself, to a private place."""
        known = ("subject", "verdict", "ruleSet", "scanners", "scannedAt", "files", "findings")
        return cls(
            subject=data["subject"],
            files=tuple(FileReport.from_dict(file) for file in data["files"]),
            rule_set=RuleSet(name=data["ruleSet"]["name"], version=data["ruleSet"]["version"]),
            scanners=tuple(Scanner(name=s["name"], version=s["version"]) for s in data["scanners"]),
            scanned_at=datetime.fromisoformat(data["scannedAt"]),
            findings=tuple(Finding.from_dict(finding) for finding in data["findings"]),
            facts={key: value for key, value in data.items() if key not in known},
        )


def _without_files(findings: tuple[Finding, ...]) -> Outcome:
    """Of a scan without a file: never clean."""
    return Outcome.MALICIOUS if outcome_of(findings) is Outcome.MALICIOUS else Outcome.UNVERIFIED
