"""What becomes of an image whose verdict by this node is no longer believed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelcar.scanning.findings import Outcome

__all__ = ["Rescan", "When"]


class When(StrEnum):
    """When an image is scanned again."""

    NOW = "now"
    NEXT_PULL = "next-pull"
    """Nobody has asked for it since the node runs, and to scan it is to read it on somebody's behalf."""
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescan:
    """What is done about an image.

    Attributes:
        found: what this node had found in it. *malicious* holds until a new scan has said otherwise; anything else is
            forgotten.
        reason: why it is never scanned.
    """

    found: Outcome | None
    when: When
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "found": str(self.found) if self.found is not None else None,
            "scan": str(self.when),
            "reason": self.reason,
        }
