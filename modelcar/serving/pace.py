"""How fast a client takes an answer, or sends a body, while there is nothing but the client to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["WINDOW_SECONDS", "Pace"]

WINDOW_SECONDS: Final = 10.0


class Pace:
    """Of one connection. What we wait for an upstream or a disk is not its client's time."""

    __slots__ = ("_clock", "_moved", "_newer", "_older", "_since", "_waited")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited = 0.0
        self._since: float | None = None
        self._moved = 0
        self._older = self._newer = (0.0, 0)  # seconds and bytes: where the last two windows began

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """It is the client's turn, during the block."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - self._since
            self._since = None

    def moved(self, count: int) -> None:
        """So many bytes were taken, or came."""
        self._moved += count
        self._roll(self._waited)

    def rate(self) -> float | None:
        """Bytes a second in the last windows; `None` where it is not the client's turn, or has not been for long."""
        if self._since is None:
            return None
        waited = self._waited + self._clock() - self._since
        self._roll(waited)
        seconds = waited - self._older[0]
        return (self._moved - self._older[1]) / seconds if seconds >= WINDOW_SECONDS else None

    def _roll(self, waited: float) -> None:
        if waited - self._newer[0] >= WINDOW_SECONDS:
            self._older, self._newer = self._newer, (waited, self._moved)
