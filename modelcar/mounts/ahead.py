"""The blobs of a mount on their way, in the order in which a loader reads them, before anybody does."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from modelcar.backoff import Backoff
from modelcar.cache.lease import Lasting, Purpose
from modelcar.errors import ModelcarError, Refused

__all__ = ["Ahead", "Ranges"]

_BYTES: Final = 256 << 20  # of what is missing of blobs that are on their way at once …
_AT_LEAST: Final = 2  # … but so many, whatever their size: one is ending while the next begins …
_AT_MOST: Final = 16  # … and no more
_BACKOFF: Final = Backoff(1.0, 15.0, spread=0.0)

Ranges = Sequence[tuple[int, int]]
"""`[start, stop)` of a blob."""


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A blob, or a part of it, whose turn comes."""

    blob: int
    part: Ranges | None = None

    def begin(self, lease: Lasting) -> Future[None]:
        """Done when it is here."""
        if self.part is None:
            return lease.when(0, lease.grid.size)
        ranges = [(start, stop - start) for start, stop in self.part]
        lease.prefer(ranges)
        return _all([lease.when(offset, length) for offset, length in ranges])

    def missing(self, lease: Lasting) -> int:
        """Bytes, at most."""
        left = lease.grid.size - lease.present
        return left if self.part is None else min(left, sum(stop - start for start, stop in self.part))


class Ahead:
    """Safe to use from several threads.

    Args:
        order: the numbers of blobs.
        first: what comes before all else, by blob.
        lease: one of them; raises a `ModelcarError`.
        wake: called, from any thread, when `step` has something to do.
    """

    def __init__(
        self,
        order: Iterable[int],
        first: Mapping[int, Ranges],
        lease: Callable[[int, Purpose], Lasting],
        wake: Callable[[], None],
    ) -> None:
        self._lease, self._wake = lease, wake
        self._lock = threading.Lock()
        order = list(order)
        self._parts = deque(_Turn(blob, first[blob]) for blob in order if first.get(blob))
        self._wholes = deque(map(_Turn, order))
        self._running: dict[_Turn, tuple[Lasting, Future[None]]] = {}
        self._failures, self._resume = 0, 0.0
        self._closed = False
        self.trouble: str | None = None
        """Why nothing comes at the moment."""

    def favour(self, blob: int) -> None:
        """Somebody reads this one now: it comes next, parts before wholes."""
        with self._lock:
            turns = [t for t in (*self._parts, *self._wholes) if t.blob == blob]
            for turn in turns:
                queue = self._queue(turn)
                queue.remove(turn)
                queue.appendleft(turn)
        if turns:
            self._wake()

    def step(self, now: float) -> None:
        """Let go of what has come, and begin what is next."""
        with self._lock:
            self._tidy(now)
            while now >= self._resume and not self._closed and self._has_room():
                turn = self._next()
                if turn is None:
                    return
                self._begin(turn, now)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            running, self._running = self._running, {}
        for lease, _ in running.values():
            lease.close()

    def _queue(self, turn: _Turn) -> deque[_Turn]:
        return self._wholes if turn.part is None else self._parts

    def _next(self) -> _Turn | None:
        if self._parts:
            return self._parts.popleft()
        if any(turn.part is not None for turn in self._running):
            return None  # the line is theirs
        return self._wholes.popleft() if self._wholes else None

    def _has_room(self) -> bool:
        missing = sum(turn.missing(lease) for turn, (lease, _) in self._running.items())
        return len(self._running) < _AT_LEAST or (missing < _BYTES and len(self._running) < _AT_MOST)

    def _begin(self, turn: _Turn, now: float) -> None:
        try:
            lease = self._lease(turn.blob, Purpose.PULL if turn.part is None else Purpose.MOUNT)
        except Refused:
            return  # it is lost, which others are told
        except ModelcarError as e:
            self._rest(turn, str(e), now)
            return
        arrived = turn.begin(lease)
        if arrived.done() and arrived.exception() is None:
            lease.close()
            return
        self._running[turn] = lease, arrived
        arrived.add_done_callback(lambda _: self._wake())

    def _tidy(self, now: float) -> None:
        for turn, (lease, arrived) in list(self._running.items()):
            if not arrived.done():
                continue
            lease.close()
            del self._running[turn]
            error = arrived.exception()
            if error is None:
                self._failures, self.trouble = 0, None
            elif not isinstance(error, Refused):
                self._rest(turn, str(error), now)

    def _rest(self, turn: _Turn, why: str, now: float) -> None:
        self._queue(turn).appendleft(turn)
        self._failures += 1
        self._resume = now + _BACKOFF.after(self._failures)
        self.trouble = why


def _all(futures: Sequence[Future[None]]) -> Future[None]:
    """Done when all are, failed when one is."""
    result: Future[None] = Future()
    lock, left = threading.Lock(), len(futures)

    def tell(done: Future[None]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        error = done.exception()
        with suppress(InvalidStateError):  # another one failed
            if error is not None:
                result.set_exception(error)
            elif last:
                result.set_result(None)

    for future in futures:
        future.add_done_callback(tell)
    return result
