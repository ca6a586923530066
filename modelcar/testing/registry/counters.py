"""What a registry has seen: the bytes of blobs that really moved, and every request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from modelcar.testing.registry.faults import Wrong

__all__ = ["Counters", "Counts", "Seen"]

_PATIENCE: Final = 1.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Since the start, or the last `reset_counts`. `received` and `sent` are bytes of blobs in bodies, headers not
    included, whether the body came to its end or not; `faults` how often each kind happened."""

    requests: int = 0
    received: int = 0
    sent: int = 0
    sessions: int = 0
    commits: int = 0
    mounts: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)

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
        self._journal: list[Seen] = []

    def add(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._numbers[name] += number

    def went_wrong(self, wrong: Wrong) -> None:
        with self._lock:
            self._faults[str(wrong)] += 1

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
            self._journal.clear()

    def counts(self) -> dict[str, Any]:
        with self._lock:
            self._settle()
            return {**self._numbers, "faults": dict(self._faults)}

    def journal(self) -> list[dict[str, Any]]:
        with self._lock:
            self._settle()
            return [asdict(seen) for seen in self._journal]

    def _settle(self) -> None:
        self._lock.wait_for(lambda: not self._running, _PATIENCE)
