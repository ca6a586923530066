"""The rules that a scanner goes by, and the type of statements about what it found by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["SCAN_VERDICT", "RuleSet"]

SCAN_VERDICT: Final = "https://modelcar.dev/scan/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules that a scanner went by. Versions are dotted numbers, compared part by part."""

    name: str
    version: str

    def reaches(self, minimum: RuleSet) -> bool:
        return self.name == minimum.name and _parts(self.version) >= _parts(minimum.version)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def _parts(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
