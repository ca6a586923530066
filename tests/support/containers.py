"""Containers scanned with stand-ins for the formats of their members."""

from __future__ import annotations

from collections.abc import Sequence

from modelcar.scanning.content import literal
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.filescan import FileScan, Format
from modelcar.scanning.findings import Finding, Rule, Severity
from modelcar.scanning.limits import Budget, Limits

__all__ = ["EVIL", "PLAIN", "contained", "found_in", "rules_in"]

EVIL = b"EVIL: any program that reads this is lost"
PLAIN = b"PLAIN: a harmless file of a known kind\n"
_EVIL = Rule(id="evil", severity=Severity.MALICIOUS, title="t", why="w", fix="f")


def _is_evil(scan: FileScan) -> None:
    scan.account_for_all()
    scan.found(_EVIL)


_STAND_INS = (
    Format(name="evil", matches=lambda probe: probe.head.startswith(b"EVIL"), scan=_is_evil),
    Format(name="plain", matches=lambda probe: probe.head.startswith(b"PLAIN"), scan=FileScan.account_for_all),
)


def found_in(
    formats: Sequence[Format], data: bytes, *, name: str = "file.bin", limits: Limits | None = None
) -> tuple[Finding, ...]:
    """What is found in a file. Members that begin like `EVIL` are malicious, those that begin like `PLAIN` harmless."""
    budget = Budget(limits=limits or Limits())
    return scan_content(name, literal(data), (*formats, *_STAND_INS), budget)[1]


def rules_in(
    formats: Sequence[Format], data: bytes, *, name: str = "file.bin", limits: Limits | None = None
) -> set[str]:
    """The ids of the rules that apply."""
    return {finding.rule.id for finding in found_in(formats, data, name=name, limits=limits)}


def contained(formats: Sequence[Format], data: bytes, *, name: str = "file.bin") -> list[tuple[str, bytes]]:
    """The members that are scanned, in order: what each is called, and its bytes."""
    members: list[tuple[str, bytes]] = []

    def note(scan: FileScan) -> None:
        scan.account_for_all()
        if scan.depth == 1:
            members.append((scan.name, scan.content.read(0, scan.size)))

    everything = Format(name="anything", matches=lambda _: True, scan=note)
    scan_content(name, literal(data), (*formats, everything), Budget())
    return members
