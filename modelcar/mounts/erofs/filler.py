"""Answers the kernel's questions from a door."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final

from modelcar.mounts.door import Door
from modelcar.mounts.erofs.copies import SecondCopies
from modelcar.mounts.erofs.fanotify import CLOSED, Group
from modelcar.mounts.erofs.marks import Marks
from modelcar.mounts.erofs.questions import Question, Questions
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.journal import Journal

__all__ = ["Filler"]

_OWN_FILES: Final = 512  # descriptors for everything but questions, and the blobs
_SPARE: Final = 64  # for what opens files later on
_MOST: Final = 1 << 14  # descriptors
_TICK: Final = 1.0  # seconds
_SWEEP_EVERY: Final = 5  # ticks
_AT_ONCE: Final = 1.0  # seconds
_NEAR: Final = 1 << 20  # bytes; as far as the kernel is told to read ahead (front.py)


class Filler:
    """One worker's loop. Nothing is allowed that the door does not call readable, in the very file that is mounted."""

    def __init__(
        self, group: Group, journal: Journal, plan: MountPlan, door: Door, *, target: Path, patience: float
    ) -> None:
        """`patience`: seconds that a reader waits for bytes before it gets `EIO`."""
        self._plan, self._door, self._patience = plan, door, patience
        self._deciding: Question | None = None
        self._blobs: dict[int, int] = {}  # where to look first, by inode
        self._given_up: deque[tuple[float, int, int, int]] = deque(maxlen=256)  # when, and what: blob, start, stop
        self._copies = SecondCopies(door.fileno, plan, target=target)
        self._marks = Marks(group, plan, door, target=target)
        most = _descriptors()
        floor = min(_OWN_FILES + len(plan.blobs), most // 2)
        self._questions = Questions(group, journal, most=most - floor - _SPARE, floor=floor)

    def run(self) -> None:
        """Until the file system is gone: unmounted, and nobody has a file of it open."""
        if self._questions.is_over:
            return
        for question in self._questions.left():
            self._decide(question)
        self._marks.follow()
        stopped = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(stopped,), name="ticker", daemon=True)
        ticker.start()
        try:
            while self._next():
                pass
        finally:
            stopped.set()
            ticker.join()

    def busy(self) -> list[Hashable]:
        """For `Pulse`: the question that is being decided, and those whose time is up."""
        deciding = self._deciding
        return [*self._questions.overdue(self._patience), *([deciding] if deciding is not None else [])]

    def _next(self) -> bool:
        """Take one question and answer it, now or later; False if there will be no more."""
        question = self._questions.take()
        if question.event.mask & CLOSED:
            os.close(question.event.fd)
            return False
        blob = self._blob(question.event.fd)
        if blob is not None:
            self._questions.note(question, blob)
        self._decide(question)
        return True

    def _blob(self, file: int) -> int | None:
        """Which one a question is about. None if it is a file that the door has no more: EROFS keeps to the one that
        was mounted, and what the door says is of another."""
        asked = os.fstat(file)
        for blob in chain((self._blobs.get(asked.st_ino, 0),), range(len(self._plan.blobs))):
            if os.path.samestat(asked, os.fstat(self._door.fileno(blob))):
                self._blobs[asked.st_ino] = blob
                return blob
        return None

    def _decide(self, question: Question) -> None:
        self._deciding = question
        self._answer_or_ask(question)
        self._deciding = None

    def _answer_or_ask(self, question: Question) -> None:
        blob = question.blob
        if blob is None or blob >= len(self._plan.blobs):
            self._questions.settle(question, errno.EIO)
            return
        offset, length = self._range(question, blob)
        if error := self._door.lost(blob):
            self._questions.settle(question, error)
        elif self._door.readable(blob, offset, length):
            self._questions.settle(question, 0)
        elif self._was_given_up(blob, offset, length):
            self._questions.settle(question, errno.EIO)
        else:
            self._questions.keep(question)
            self._door.ask(blob, offset, length, lambda error: self._end(question, error or self._door.lost(blob)))

    def _range(self, question: Question, blob: int) -> tuple[int, int]:
        """Within the blob: the kernel asks for whole blocks, and for no count if it means everything."""
        size = self._plan.blobs[blob].size
        start = min(question.event.offset, size)
        stop = min(start + question.event.count, size) if question.event.count else size
        return start, stop - start

    def _tick(self, stopped: threading.Event) -> None:
        ticks = 0
        while not stopped.wait(_TICK):
            ticks += 1
            for question in self._questions.overdue(self._patience):
                self._end(question, errno.EIO)
            if ticks % _SWEEP_EVERY == 0:
                self._copies.sweep()

    def _end(self, question: Question, error: int) -> None:
        """Settle what has waited. A door that gives up tells so about when we would."""
        now = time.monotonic()
        if error and question.blob is not None and now - question.taken >= self._patience / 2:
            offset, length = self._range(question, question.blob)
            self._given_up.append((now, question.blob, offset, offset + length))
        self._questions.settle(question, error)

    def _was_given_up(self, blob: int, offset: int, length: int) -> bool:
        """Whether somebody has just waited in vain for what lies beside it. The kernel reads ahead in pieces, asks for
        each when it has the answer for the one before, and then for the page: nobody waits for all of them in turn.
        """
        before = time.monotonic() - _AT_ONCE
        return any(
            when > before and blob == other and offset < stop + _NEAR and start < offset + length + _NEAR
            for when, other, start, stop in tuple(self._given_up)
        )


def _descriptors() -> int:
    """How many we may have open; as many as we are allowed to allow ourselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return min(_MOST, soft)
