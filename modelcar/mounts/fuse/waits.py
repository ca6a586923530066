"""Reads that wait for their bytes, thousands if need be; each is settled once, by whoever comes first."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error
from typing import Final, Self

from modelcar.errors import InvalidDocument

__all__ = ["Wait", "Waits", "is_dying"]

_RECORD: Final = Struct("=QQQIIId")
_TICK: Final = 0.25  # seconds
_REPEATED: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A READ of `size` bytes of a node: the thread `pid` asked, through `lane`, at `began` by the monotonic clock."""

    unique: int
    node: int
    offset: int
    size: int
    lane: int
    pid: int
    began: float

    def to_bytes(self) -> bytes:
        return _RECORD.pack(self.unique, self.node, self.offset, self.size, self.lane, self.pid, self.began)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        try:
            unique, node, offset, size, lane, pid, began = _RECORD.unpack(raw)
        except error:
            raise InvalidDocument(f"a waiting read: {len(raw)} bytes instead of {_RECORD.size}") from None
        return cls(unique=unique, node=node, offset=offset, size=size, lane=lane, pid=pid, began=began)


class Waits:
    """`settle` is called once for each `Wait`, with 0 or the `errno` that its reader gets, from any thread."""

    def __init__(self, settle: Callable[[Wait, int], None], *, patience: float) -> None:
        """`patience`: seconds after which a reader gets `EIO`."""
        self._settle = settle
        self._patience = patience
        self._waiting: dict[int, Wait] = {}
        self._interrupted: dict[int, float] = {}
        self._late: list[tuple[Wait, float]] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, wait: Wait) -> None:
        with self._changed:
            self._waiting[wait.unique] = wait
            self._changed.notify()

    def settled(self, unique: int, number: int) -> None:
        """The bytes are here, or will not come. Nothing happens if the reader was answered before."""
        with self._changed:
            wait = self._waiting.pop(unique, None)
            self._interrupted.pop(unique, None)
        if wait is not None:
            self._settle(wait, number)

    def interrupt(self, unique: int) -> None:
        """A signal came for a reader. May be heard of before the read itself."""
        with self._changed:
            self._interrupted[unique] = time.monotonic()
            self._changed.notify()

    def was_late(self, node: int, offset: int) -> bool:
        """Whether a read of that place ran out of time a moment ago: the kernel tries once more what it read ahead in
        vain, and its reader has waited already."""
        now = time.monotonic()
        with self._changed:
            self._late = [(wait, when) for wait, when in self._late if now - when < _REPEATED]
            return any(w.node == node and w.offset <= offset < w.offset + w.size for w, _ in self._late)

    def overdue(self) -> list[int]:
        """Reads whose time is up; they are settled in a moment. Waits for nobody."""
        before = time.monotonic() - self._patience
        return [wait.unique for wait in list(self._waiting.values()) if wait.began < before]

    def watch(self) -> None:
        """Look after time limits and dying readers until `close`."""
        while True:
            with self._changed:
                while not (self._waiting or self._interrupted or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                waiting = list(self._waiting.values())
                interrupted = dict(self._interrupted)
            self._look(waiting, interrupted, time.monotonic())
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=_TICK)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _look(self, waiting: list[Wait], interrupted: dict[int, float], now: float) -> None:
        for wait in waiting:
            if now - wait.began >= self._patience:
                with self._changed:
                    self._late.append((wait, now))
                self.settled(wait.unique, errno.EIO)
            elif wait.unique in interrupted and is_dying(wait.pid):
                self.settled(wait.unique, errno.EINTR)
        known = {wait.unique for wait in waiting}
        with self._changed:
            for unique, since in interrupted.items():
                if unique not in known and now - since > _REPEATED:
                    self._interrupted.pop(unique, None)


def is_dying(thread: int) -> bool:
    """Whether a thread has a signal before it that ends it.

    Only then may a read end early: a page fault that fails because of a signal which the program handles would kill it.
    """
    try:
        status = Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return False
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("Sig", "Shd")))
    pending, shared, blocked, ignored, caught = (
        int(masks[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    )
    return bool((pending | shared) & ~(blocked | ignored | caught | _HARMLESS))


def _mask(*signals: int) -> int:
    return sum(1 << (number - 1) for number in signals)


# CHLD, CONT, URG and WINCH are nothing by default, the STOPs only halt.
_HARMLESS: Final = _mask(17, 18, 19, 20, 21, 22, 23, 28)
