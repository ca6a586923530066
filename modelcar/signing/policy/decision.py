"""What was decided, and why, for a person who has to do something about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelcar.errors import Denied
from modelcar.oci import Digest

__all__ = ["AuthorityResult", "Decision", "PolicyResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityResult:
    """Whether one authority was satisfied: by whom, or else why not."""

    name: str
    satisfied: bool
    signers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "satisfied": self.satisfied,
            "signers": list(self.signers),
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """What one policy that the image falls under came to. In warn mode a no is a warning."""

    kind: str
    name: str
    satisfied: bool
    warn_only: bool = False
    reasons: tuple[str, ...] = ()
    authorities: tuple[AuthorityResult, ...] = ()

    @property
    def denies(self) -> bool:
        return not self.satisfied and not self.warn_only

    @property
    def lines(self) -> tuple[str, ...]:
        """Why not, a line each."""
        return tuple(f"{self.kind} {self.name}: {reason}" for reason in self.reasons)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "satisfied": self.satisfied,
            "mode": "warn" if self.warn_only else "enforce",
            "reasons": list(self.reasons),
            "authorities": [a.to_dict() for a in self.authorities],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome for one image.

    Attributes:
        reasons: for a no, the most important first.
        warnings: for either.
        revoked: those of the reasons that deny-lists give.
    """

    image: str
    digest: Digest
    allowed: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    policies: tuple[PolicyResult, ...] = ()
    revoked: tuple[str, ...] = ()

    def require(self) -> None:
        """Return only if the image is allowed.

        Raises:
            Denied: with the reasons.
        """
        if not self.allowed:
            raise Denied(f"{self.image} is denied", reasons=self.reasons)

    def to_dict(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "digest": str(self.digest),
            "allowed": self.allowed,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "policies": [p.to_dict() for p in self.policies],
        }
