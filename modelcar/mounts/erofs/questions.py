"""Questions of the kernel, from the moment when they are taken until they are answered."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from modelcar.mounts.erofs.fanotify import CLOSED, EVENT_SIZE, Event, Group, events_in
from modelcar.mounts.process.journal import Journal

__all__ = ["Question", "Questions"]

_LANE: Final = 0  # of the journal
_NOTE: Final = struct.Struct("=I")  # behind an event: the number of its blob, from 1
_RECORD: Final = EVENT_SIZE + _NOTE.size
_EMPTY: Final = bytes(_RECORD)
_PASSED_ON: Final = frozenset({errno.EIO, errno.EPERM, errno.EAGAIN, errno.EBUSY, errno.ENOSPC})


@dataclass(slots=True, kw_only=True, eq=False)
class Question:
    """`blob` is None if it is unknown. `event.fd` is its number; here that is open until it is answered, so that the
    kernel, which knows a question by its number alone, gives it to no other."""

    event: Event
    blob: int | None
    slot: int | None = None
    taken: float = field(default_factory=time.monotonic)
    is_settled: bool = False


class Questions:
    """Takes, keeps and settles them. One thread takes; the rest is safe to use from several."""

    def __init__(self, group: Group, journal: Journal, *, most: int, floor: int) -> None:
        """`most` are taken at a time; further ones wait in the kernel. All get numbers from `floor` on, far from those
        that a next worker has for itself when it begins: it can hold theirs then."""
        self._group, self._journal = group, journal
        self._floor = _filled_up_to(floor)
        self._landing = journal.landing(_LANE)[:_RECORD]
        self._room = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._waiting: set[Question] = set()

    def left(self) -> Iterator[Question]:
        """Those that a worker before us took and did not answer; before `take`. Some may have been answered: the kernel
        then hears an answer to nothing."""
        left = self._journal.left()
        known = set()
        for slot, record in left.kept.items():
            question = self._again(record, slot)
            known.add(question.event.fd)
            yield from self._reserved(question)
        for record in left.landings.values():
            question = self._again(record[:_RECORD], None)
            if not question.event.mask & CLOSED and question.event.fd not in known:
                yield from self._reserved(question)

    @property
    def is_over(self) -> bool:
        """Whether the worker before us was killed when it had just heard that there will be no more."""
        last = events_in(self._landing[:EVENT_SIZE])
        return any(event.mask & CLOSED for event in last)

    def take(self) -> Question:
        """Wait for the next one, or for the end of the file system, which is an event with `CLOSED`."""
        self._room.acquire()
        self._landing[:] = _EMPTY  # of a note, too, which would tell of another's blob
        self._group.read(self._landing[:EVENT_SIZE])
        return Question(event=next(events_in(self._landing)), blob=None)

    def note(self, question: Question, blob: int) -> None:
        """For the next worker, which has no open file of it."""
        question.blob = blob
        _NOTE.pack_into(self._landing, EVENT_SIZE, blob + 1)

    def keep(self, question: Question) -> None:
        """It has to wait: the next one may be taken before it is settled."""
        if question.slot is None:
            question.slot = self._journal.keep(bytes(self._landing))
        with self._lock:
            self._waiting.add(question)

    def settle(self, question: Question, error: int) -> None:
        """Answer with 0 or an `errno`, unless that was done before."""
        with self._lock:
            if question.is_settled:
                return
            question.is_settled = True
            self._waiting.discard(question)
        self._group.answer(question.event.fd, error if not error or error in _PASSED_ON else errno.EIO)
        if question.slot is not None:
            self._journal.release(question.slot)
        os.close(question.event.fd)
        self._room.release()

    def overdue(self, patience: float) -> list[Question]:
        """Those that have waited for longer than `patience` seconds. Waits for nobody."""
        before = time.monotonic() - patience
        return [question for question in self._waiting.copy() if question.taken < before]

    def _again(self, record: bytes, slot: int | None) -> Question:
        (note,) = _NOTE.unpack_from(record, EVENT_SIZE)
        return Question(event=next(events_in(record[:EVENT_SIZE])), blob=note - 1 if note else None, slot=slot)

    def _reserved(self, question: Question) -> Iterator[Question]:
        """With its number open here. If that is something else's, the answer is no, at once: while nothing new is taken
        it can meet no other question."""
        number = question.event.fd
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        copy = nothing
        if nothing != number:
            copy = fcntl.fcntl(nothing, fcntl.F_DUPFD_CLOEXEC, number)  # the number, or the next one that is free
            os.close(nothing)
        if copy != number:
            os.close(copy)
            self._group.answer(number, errno.EIO)
            if question.slot is not None:
                self._journal.release(question.slot)
            return
        self._room.acquire()
        yield question


def _filled_up_to(floor: int) -> list[int]:
    """Descriptors of nothing, on every number below `floor` that is free."""
    filled = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
    while filled[-1] < floor:
        filled.append(os.dup(filled[0]))
    os.close(filled.pop())
    return filled
