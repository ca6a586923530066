"""Names of files that two programs, or two people, take for different ones."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from modelcar.scanning.findings import Finding, Rule, Severity, shown

__all__ = ["RULES", "name_findings"]

COLLIDING: Final = Rule(
    id="name.colliding",
    severity=Severity.UNVERIFIED,
    title="two names that many file systems take for one",
    why="Which of the two files a program then opens depends on the disk that they were copied to.",
    fix="Rename one of them.",
)
DECEPTIVE: Final = Rule(
    id="name.deceptive",
    severity=Severity.UNVERIFIED,
    title="a name with characters that nobody sees",
    why="Characters that are invisible, turn text around or move the cursor make a name look like another one.",
    fix="Rename the file.",
)
NOT_PORTABLE: Final = Rule(
    id="name.not-portable",
    severity=Severity.NOTE,
    title="a name that Windows cannot hold",
    why="People who unpack the model there get an error, or another name.",
    fix="Rename the file if that matters.",
)
RULES: Final = (COLLIDING, DECEPTIVE, NOT_PORTABLE)

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # Unicode's general categories
_WINDOWS: Final = frozenset('<>:"|?*\\')
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}
)


def name_findings(paths: Iterable[str]) -> list[Finding]:
    """What is wrong with the names of the files of one model."""
    findings = []
    alike = defaultdict(list)
    for path in sorted(set(paths)):
        alike[unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())].append(path)
        if any(unicodedata.category(character) in _INVISIBLE for character in path):
            findings.append(Finding(rule=DECEPTIVE, path=shown(path)[1:-1], detail=ascii(path)[1:-1][:200]))
        elif any(map(_is_refused, path.split("/"))):
            findings.append(Finding(rule=NOT_PORTABLE, path=path))
    for names in alike.values():
        findings += [Finding(rule=COLLIDING, path=other, detail=f"and {shown(names[0])}") for other in names[1:]]
    return findings


def _is_refused(part: str) -> bool:
    return bool(_WINDOWS & set(part)) or part[-1:] in (".", " ") or part.partition(".")[0].lower() in _DEVICES
