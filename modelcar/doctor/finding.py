"""What a look at something comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from modelcar.errors import ModelcarError

__all__ = ["Finding", "Level", "looked", "note", "ok", "problem"]


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    """Something does not work here that few need, or is worth knowing."""
    PROBLEM = "problem"
    """What people do with modelcar will fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line for a person. `subject` is what was looked at, `hint` what to do. Neither holds a secret."""

    level: Level
    subject: str
    message: str
    hint: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        return {"level": self.level.value, "subject": self.subject, "message": self.message, "hint": self.hint}


def ok(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(level=Level.OK, subject=subject, message=message)


def note(subject: str, message: str, hint: str | None = None) -> Finding:
    """Worth knowing."""
    return Finding(level=Level.NOTE, subject=subject, message=message, hint=hint)


def problem(subject: str, message: str, hint: str | None = None) -> Finding:
    """Not as it has to be."""
    return Finding(level=Level.PROBLEM, subject=subject, message=message, hint=hint)


def looked(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a look, whose failure is one, too: whoever looks for what is wrong must not fall over it."""
    try:
        yield from look()
    except ModelcarError as e:
        yield problem(subject, str(e), e.hint)
    except OSError as e:
        yield problem(subject, f"{e.filename}: {e.strerror}" if e.filename else str(e))
