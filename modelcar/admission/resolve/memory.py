"""What was found out, for as long as it holds."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

from modelcar.errors import InvalidContent, ModelcarError

__all__ = ["Look", "Memory", "NotAtHand", "Problem"]

_SETTLED_SECONDS: Final = 300.0  # damage on the way looks like damage in the image

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class NotAtHand(Exception):
    """Something is not remembered, and nobody may be asked now."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is not known, in words for the pod's author. Never has a secret in it."""

    text: str
    is_settled: bool = False
    """Whether it lies in the image itself, so that it will not pass."""


class Look(Enum):
    """How far to go for an answer."""

    AT_HAND = "at hand"
    """What is not remembered raises `NotAtHand`."""
    ASK = "ask"
    """Registries are asked. Blocks."""
    LATE = "late"
    """What is not remembered is a problem: time is up."""


class Memory(Generic[K, V]):
    """The `size` values that were used last. Safe to share between threads.

    Args:
        seconds: how long a value holds; `None`: it cannot change.
        problem_seconds: how long a failure does that may pass: long enough that a crowd of pods does not repeat it,
            short enough that nobody waits for it.
    """

    def __init__(
        self,
        size: int,
        *,
        seconds: float | None = None,
        problem_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._size = size
        self._problem_seconds = problem_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[K, tuple[float, V | Problem]] = OrderedDict()

    def get(self, key: K) -> V | Problem | None:
        """What is remembered."""
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            until, value = known
            if self._clock() >= until:
                del self._known[key]
                return None
            self._known.move_to_end(key)
            return value

    def put(self, key: K, value: V | Problem, seconds: float | None = None) -> None:
        """Remember it, for `seconds` if they are given."""
        if seconds is None:
            seconds = self.seconds
            if isinstance(value, Problem):
                seconds = _SETTLED_SECONDS if value.is_settled else self._problem_seconds
        with self._lock:
            self._put(key, value, seconds)

    def settle(self, key: K, value: V) -> V | Problem:
        """What is remembered, or else `value` from now on."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and self._clock() < known[0]:
                return known[1]
            self._put(key, value, self.seconds)
        return value

    def look(
        self, key: K, find: Callable[[], V], how: Look, *, seconds: Callable[[V], float | None] = lambda _: None
    ) -> V | Problem:
        """What is remembered, or what `find` finds or fails with; `seconds` says how long a value holds.

        Raises:
            NotAtHand: it is not remembered, and `how` is `AT_HAND`.
        """
        if (known := self.get(key)) is not None:
            return known
        if how is Look.AT_HAND:
            raise NotAtHand
        if how is Look.LATE:
            return Problem("there was no answer in time")
        try:
            value = find()
        except ModelcarError as e:
            problem = Problem(str(e), is_settled=isinstance(e, InvalidContent))
            self.put(key, problem)
            return problem
        self.put(key, value, seconds(value))
        return value

    def _put(self, key: K, value: V | Problem, seconds: float | None) -> None:
        self._known[key] = (float("inf") if seconds is None else self._clock() + seconds, value)
        self._known.move_to_end(key)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
