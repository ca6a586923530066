"""How often an upload may fail, and how much may go in vain."""

from __future__ import annotations

from typing import Final

__all__ = ["Patience"]

_MAX_WAIT: Final = 120.0  # seconds; a registry that wants more is reported instead
_IN_VAIN: Final = 256 << 20  # bytes, besides the blob once for each attempt
_BEGINNINGS: Final = 6  # for each attempt
_WORTHWHILE: Final = 1 << 20  # bytes
_MOVING: Final = 0.2  # of an attempt


class Patience:
    """Of one blob. What gets on earns new attempts, and what moved bytes costs a part of one, until too many of them
    have moved in vain.

    Attributes:
        failures: in a row, since the registry got more than it had.
        still: of these, the last ones in a row that moved next to nothing. A registry that takes most of a blob is not
            one to be left alone, even if it keeps none of it.
    """

    def __init__(self, attempts: int, size: int) -> None:
        self._attempts = attempts
        self._worthwhile = min(_WORTHWHILE, size // 8)
        self._budget = attempts * size + _IN_VAIN
        self._in_vain = 0
        self._beginnings = 0
        self._reached = 0
        self._weight = 0.0
        self.failures = 0
        self.still = 0

    def failed(self, *, moved: int, wait: float) -> bool:
        """A request failed after `moved` bytes, and the registry asks to `wait` so many seconds. Returns whether it may
        be tried again."""
        self._in_vain += moved
        self.failures += 1
        moving = moved > 0 and moved >= self._worthwhile
        self.still = 0 if moving else self.still + 1
        self._weight += _MOVING if moving else 1.0
        spent = self._in_vain > self._budget or self._beginnings > _BEGINNINGS * self._attempts
        return self._attempts > 1 and self._weight < self._attempts and not spent and wait <= _MAX_WAIT

    def reached(self, offset: int) -> None:
        """The registry has so many bytes; fewer than before, if it began again."""
        if offset > self._reached:
            self.failures, self.still, self._weight = 0, 0, 0.0
        elif offset < self._reached:
            self._in_vain += self._reached - offset
        self._reached = offset

    def begins(self) -> None:
        """With another session."""
        self._beginnings += 1
