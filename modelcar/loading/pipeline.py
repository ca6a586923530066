"""Reads in several threads, tensors in order, and no more ahead of them than a window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

from modelcar.loading.files import WeightFile
from modelcar.loading.memory import Destination
from modelcar.loading.plan import Read, Wanted, pieces_of
from modelcar.registry.cancel import Cancelled, CancelScope, current_scope

__all__ = ["Pipeline"]


class Pipeline:
    """One pass over the files. Reads begin in the order of the plan; those of what is waited for always may, others
    while not more than `window` bytes are ahead of it."""

    def __init__(
        self,
        files: Sequence[WeightFile],
        wanted: Sequence[Wanted],
        reads: Iterator[Read],
        destination: Destination,
        *,
        workers: int,
        window: int,
        advance: Callable[[int, int], None] = lambda _file, _size: None,
    ) -> None:
        """`advance` is told of bytes that have come: the number of their file, and how many."""
        self._files, self._wanted, self._reads, self._destination = files, wanted, reads, destination
        self._workers: Final = workers
        self._window: Final = window
        self._advance = advance
        self._changed = threading.Condition()
        self._scope = CancelScope()
        self._missing = [w.strips.size for w in wanted]
        self._ahead = [0] * len(wanted)  # bytes of reads that have begun
        self._ahead_total = 0  # of those after the head
        self._begun = 0  # how many have memory: all before this number
        self._head = -1  # what is waited for, or at hand
        self._next_read: Read | None = None
        self._stopped = False
        self._failure: BaseException | None = None

    def run(self) -> Generator[int]:
        """The numbers of all wanted in order, each once all its bytes are where they belong.

        Raises:
            ModelcarError: what the first read that failed has raised. Threads have ended then, as when it is closed.
        """
        if (outer := current_scope()) is not None:
            outer.contain(self._scope)
        threads = [threading.Thread(target=self._work, name=f"modelcar-load-{n}") for n in range(self._workers)]
        try:
            for thread in threads:
                thread.start()
            for number in range(len(self._wanted)):
                self._wait(number)
                yield number
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            self._scope.cancel()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _wait(self, number: int) -> None:
        with self._changed:
            self._head = number
            self._ahead_total -= self._ahead[number]
            self._begin_until(number + 1)
            self._changed.notify_all()
            while self._missing[number] and self._failure is None:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure

    def _work(self) -> None:
        try:
            with self._scope.active():
                while (read := self._take_read()) is not None:
                    self._perform(read)
                    self._arrived(read)
        except BaseException as e:
            with self._changed:
                if not (self._stopped and isinstance(e, Cancelled)):
                    self._failure = self._failure or e
                self._stopped = True
                self._changed.notify_all()
            self._scope.cancel()

    def _perform(self, read: Read) -> None:
        """Not in `_work`: while that waits for its next read it must not keep the memory of this one alive."""
        with self._destination.receiving(read) as targets:
            self._files[read.file].read_into(read.offset, pieces_of(read, self._wanted, targets), read.size)

    def _take_read(self) -> Read | None:
        """The next one, when it may begin; `None` if there are no more, or nobody wants them."""
        with self._changed:
            while not self._stopped:
                if self._next_read is None:
                    self._next_read = next(self._reads, None)
                read = self._next_read
                if read is None:
                    return None
                if self._may_begin(read):
                    self._next_read = None
                    self._begin(read)
                    return read
                self._changed.wait()
        return None

    def _may_begin(self, read: Read) -> bool:
        return read.shares[0].wanted <= self._head or self._ahead_total + _size(read) <= self._window

    def _begin(self, read: Read) -> None:
        self._begin_until(read.shares[-1].wanted + 1)
        for share in read.shares:
            self._ahead[share.wanted] += share.stop - share.start
            if share.wanted > self._head:
                self._ahead_total += share.stop - share.start

    def _begin_until(self, stop: int) -> None:
        while self._begun < stop:
            self._destination.begin(self._begun)
            self._begun += 1

    def _arrived(self, read: Read) -> None:
        with self._changed:
            for share in read.shares:
                self._missing[share.wanted] -= share.stop - share.start
            if any(not self._missing[share.wanted] for share in read.shares):
                self._changed.notify_all()
        self._advance(read.file, _size(read))


def _size(read: Read) -> int:
    return sum(share.stop - share.start for share in read.shares)
