"""Who waits for which chunks of a blob."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from modelcar.errors import ModelcarError

__all__ = ["Waiter", "Waiting"]


class Waiter:
    """Waits for the chunks from `next` to `stop`."""

    __slots__ = ("_future", "next", "stop")

    def __init__(self, chunks: range, future: Future[None]) -> None:
        self.next, self.stop, self._future = chunks.start, chunks.stop, future

    def tell(self, error: ModelcarError | None) -> None:
        """All is here, or never will be. Callbacks run in here, so this is for when no lock is held."""
        if not self._future.set_running_or_notify_cancel():
            return
        if error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(error)


class Waiting:
    """All of them, each at the first chunk of its own that is not here; guarded by who owns it."""

    def __init__(self, here: bytearray) -> None:
        """`here`: one byte a chunk, 0 if it is missing; the owner's, who says by `arrived` when it changes."""
        self._here = here
        self._waiters: dict[int, list[Waiter]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiters.values()))

    def add(self, waiter: Waiter) -> bool:
        """Whether all that it waits for is here already; else it is remembered."""
        waiter.next = self._here.find(0, waiter.next, waiter.stop)
        if waiter.next < 0:
            return True
        self._waiters.setdefault(waiter.next, []).append(waiter)
        return False

    def arrived(self, number: int) -> list[Waiter]:
        """Those for whom this chunk was the last one; others go on to their next."""
        return [waiter for waiter in self._waiters.pop(number, ()) if self.add(waiter)]

    def take(self) -> Iterable[Waiter]:
        """All, who are remembered no more."""
        waiters, self._waiters = self._waiters, {}
        return [waiter for there in waiters.values() for waiter in there]
