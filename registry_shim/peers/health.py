"""How a member does, by what became of the requests to it. Numbers and a clock; nothing is asked from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from modelcar.backoff import Backoff

__all__ = ["Health", "State"]

_LONGEST: Final = 32  # times the first rest
_WEIGHT: Final = 0.2  # of the newest sample in the averages
_ENOUGH: Final = 256 << 10  # bytes; shorter answers say nothing about a rate


class State(StrEnum):
    LIVE = "live"
    SUSPECT = "suspect"
    """It failed just now: others are asked before it."""
    DEAD = "dead"
    """It failed again and again: its chunks have other homes until a trial succeeds."""
    BANNED = "banned"
    """It sent wrong bytes."""


@dataclass(slots=True, kw_only=True)
class Health:
    """One member's. Not safe for several threads; `Membership` holds a lock.

    A circuit: after a failure the member rests for a time that doubles with every further one, spread so that nodes do
    not return to it together. Then it is tried again, and a success forgets all.
    """

    suspect_seconds: float
    dead_after: int
    banned_seconds: float
    clock: Callable[[], float]
    failures: int = 0
    rate: float | None = None
    """Bytes a second of late, while it sends."""
    _rests_until: float = field(default=0.0)
    _banned_until: float = field(default=0.0)

    def state(self) -> State:
        now = self.clock()
        if now < self._banned_until:
            return State.BANNED
        if self.failures >= self.dead_after:
            return State.DEAD
        return State.SUSPECT if now < self._rests_until else State.LIVE

    def is_below(self, rate: float) -> bool:
        """Whether it is known to send less than `rate` bytes a second."""
        return self.rate is not None and self.rate < rate

    def needs_trial(self) -> bool:
        """Whether it is dead, and has rested long enough to be asked how it does."""
        return self.state() is State.DEAD and self.clock() >= self._rests_until

    def succeeded(self, size: int = 0, seconds: float = 0.0) -> None:
        self.failures, self._rests_until = 0, 0.0
        if size >= _ENOUGH and seconds > 0:
            sample = size / seconds
            self.rate = sample if self.rate is None else (1 - _WEIGHT) * self.rate + _WEIGHT * sample

    def failed(self) -> None:
        self.failures += 1
        self._rest(self.failures)

    def dawdled(self) -> None:
        """It was abandoned because others are faster."""
        if self.rate is not None:
            self.rate /= 2
        self._rest(1)

    def lied(self) -> None:
        self._banned_until = self.clock() + self.banned_seconds

    def _rest(self, failures: int) -> None:
        backoff = Backoff(self.suspect_seconds, self.suspect_seconds * _LONGEST)
        self._rests_until = self.clock() + backoff.after(failures)
