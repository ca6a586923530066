"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level", "bad", "good", "note"]


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: what of (`subject`), how it is, and what to do about it."""

    level: Level
    subject: str
    message: str
    hint: str = ""


def good(subject: str, message: str) -> Finding:
    return Finding(level=Level.OK, subject=subject, message=message)


def note(subject: str, message: str, hint: str) -> Finding:
    return Finding(level=Level.WARNING, subject=subject, message=message, hint=hint)


def bad(subject: str, message: str, hint: str) -> Finding:
    return Finding(level=Level.FAILURE, subject=subject, message=message, hint=hint)
