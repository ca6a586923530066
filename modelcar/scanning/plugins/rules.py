"""What other scanners can say, as rules of ours."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from modelcar.scanning.findings import Rule, Severity

__all__ = ["BY_SEVERITY", "FAILED", "RULES"]

_MALICIOUS: Final = Rule(
    id="scanner.malicious",
    severity=Severity.MALICIOUS,
    title="another scanner calls it malicious",
    why="A scanner that was asked for a second opinion knows it as an attack.",
    fix="Do not use the file. If that scanner is wrong about it, report it there, and scan without it until then.",
)
_FORBIDDEN: Final = Rule(
    id="scanner.forbidden",
    severity=Severity.FORBIDDEN,
    title="another scanner forbids it",
    why="A scanner that was asked for a second opinion says that it must not be shipped.",
    fix="Take out of the file what that scanner names, or leave the file out of the image (--exclude).",
)
_SUSPICIOUS: Final = Rule(
    id="scanner.suspicious",
    severity=Severity.UNVERIFIED,
    title="another scanner does not trust it",
    why="A scanner that was asked for a second opinion found something that it cannot call harmless.",
    fix="Look at what it names, or convert the file to a format that holds no code, such as safetensors.",
)
_REMARK: Final = Rule(
    id="scanner.remark",
    severity=Severity.NOTE,
    title="another scanner remarks",
    why="It changes no verdict; it may explain one.",
    fix="Nothing needs to be done.",
)
FAILED: Final = Rule(
    id="scanner.failed",
    severity=Severity.UNVERIFIED,
    title="another scanner could not look at it",
    why="A second opinion was asked for and there is none: what that scanner would have said, nobody knows.",
    fix="Mend what keeps it from its work and scan again, or scan without it (--with).",
)
BY_SEVERITY: Final[Mapping[Severity, Rule]] = MappingProxyType(
    {rule.severity: rule for rule in (_MALICIOUS, _FORBIDDEN, _SUSPICIOUS, _REMARK)}
)
RULES: Final = (*BY_SEVERITY.values(), FAILED)
