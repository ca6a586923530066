"""What a registry has seen: the bytes of blobs that really moved, and every request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from modelcar.testing.registry.faults import Wrong

__all__ = ["Counters", "Counts", "Fate", "Seen"]

_PATIENCE: Final = 1.0  # seconds


class Fate(StrEnum):
    """What becomes of the bytes that are received."""

    COMMITTED = "committed"
    """A blob's."""
    LOST = "lost"
    """The registry lost the session, or its time was over."""
    DAMAGED = "damaged"
    """The session's, when its bytes were not those of the digest."""
    UNKEPT = "unkept"
    """The dialect keeps nothing of a request that broke off."""
    UNREAD = "unread"
    """The request was answered before it was read to its end."""
    GIVEN_UP = "given-up"
    """The client ended the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Since the start, or the last `reset_counts`. `received` and `sent` are bytes of blobs in bodies, headers not
    included, whether the body came to its end or not; `faults` how often each kind happened; `fates` what became of
    the bytes received (`Fate`), but for those of sessions that are still open."""

    requests: int = 0
    received: int = 0
    sent: int = 0
    sessions: int = 0
    commits: int = 0
    mounts: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    fates: Mapping[str, int] = field(default_factory=dict)

    def fate(self, *fates: Fate) -> int:
        """How many bytes came to one of these ends."""
        return sum(self.fates.get(str(fate), 0) for fate in fates)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request and its answer; `status` is 0 where there was none. `received` and `sent` as in `Counts`."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    status: int
    received: int
    sent: int
    fault: str

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)


class Counters:
    """Safe to use from several threads. What is asked for waits a moment for requests that are about to end."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._running = 0
        self._numbers: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._fates: Counter[str] = Counter()
        self._moved = 0
        self._journal: list[Seen] = []

    def add(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._numbers[name] += number

    def went_wrong(self, wrong: Wrong) -> None:
        with self._lock:
            self._faults[str(wrong)] += 1

    def ended_as(self, fate: Fate, size: int) -> None:
        """`size` bytes that were received came to this end."""
        with self._lock:
            self._fates[str(fate)] += size

    def moves(self, size: int) -> None:
        """`size` bytes of a blob have just moved, in a request that goes on."""
        with self._lock:
            self._moved += size

    @property
    def moved(self) -> int:
        """Bytes of blobs in both directions until this moment."""
        return self._moved

    def begins(self) -> None:
        with self._lock:
            self._running += 1
            self._numbers["requests"] += 1

    def ends(self, seen: Seen) -> None:
        with self._lock:
            self._running -= 1
            self._numbers["received"] += seen.received
            self._numbers["sent"] += seen.sent
            self._journal.append(seen)
            self._lock.notify_all()

    def reset(self) -> None:
        with self._lock:
            self._settle()
            self._numbers.clear()
            self._faults.clear()
            self._fates.clear()
            self._moved = 0
            self._journal.clear()

    def counts(self) -> dict[str, Any]:
        with self._lock:
            self._settle()
            return {**self._numbers, "faults": dict(self._faults), "fates": dict(self._fates)}

    def journal(self) -> list[dict[str, Any]]:
        with self._lock:
            self._settle()
            return [asdict(seen) for seen in self._journal]

    def _settle(self) -> None:
        self._lock.wait_for(lambda: not self._running, _PATIENCE)
