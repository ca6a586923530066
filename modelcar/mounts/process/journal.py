"""Requests that were taken from the kernel and not yet answered, in memory that outlives the process that took them.

The kernel writes a request right into this memory (`landing`), so that there is no moment at which a worker that is
killed takes one with it. What waits for long is kept as a record of its front, and its landing is free again. A request
may stand here that was answered: the kernel refuses a second answer, and nothing else happens.
"""

from __future__ import annotations

import mmap
import os
import threading
from dataclasses import dataclass
from struct import Struct
from typing import Final

__all__ = ["LANES", "Journal", "Left", "create_journal"]

LANES: Final = 16
_LANDING: Final = 8192  # bytes; the least that /dev/fuse wants
_RECORDS: Final = 1 << 16
_RECORD: Final = 64  # bytes, of which the first four say how many of the others are used
_LENGTH: Final = Struct("=I")

# A page that has how many records were ever used, the landings, the records.
_LANDINGS: Final = mmap.PAGESIZE
_TABLE: Final = _LANDINGS + LANES * _LANDING
_SIZE: Final = _TABLE + _RECORDS * _RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a worker left behind: by lane what it had read last, and by slot what it had kept."""

    landings: dict[int, bytes]
    kept: dict[int, bytes]


def create_journal() -> int:
    """A descriptor of an empty one; its memory is used as needed."""
    descriptor = os.memfd_create("modelcar-journal")
    os.ftruncate(descriptor, _SIZE)
    return descriptor


class Journal:
    """One at a time uses the memory behind `descriptor`, which stays its caller's. Safe to use from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._used: int = _LENGTH.unpack_from(self._memory)[0]
        self._growing = threading.Lock()
        self._free = [slot for slot in reversed(range(self._used)) if self._length(slot) == 0]

    def left(self) -> Left:
        """To be asked before anything new is written."""
        landings = {lane: bytes(self.landing(lane)) for lane in range(LANES) if any(self.landing(lane)[:4])}
        kept = {}
        for slot in range(self._used):
            if length := self._length(slot):
                start = _place(slot) + _LENGTH.size
                kept[slot] = self._memory[start : start + length]
        return Left(landings=landings, kept=kept)

    def landing(self, lane: int) -> memoryview:
        """Where one thread reads into. Something is in it as long as its first four bytes are not zero."""
        start = _LANDINGS + lane * _LANDING
        return memoryview(self._memory)[start : start + _LANDING]

    def landed(self, lane: int) -> None:
        """What was read last is answered or kept."""
        _LENGTH.pack_into(self._memory, _LANDINGS + lane * _LANDING, 0)

    def keep(self, record: bytes) -> int:
        """Up to 60 bytes, not empty; returns the slot that they are in. Raises `MemoryError` when all are taken."""
        if not 0 < len(record) <= _RECORD - _LENGTH.size:
            raise ValueError(f"a record of {len(record)} bytes")
        slot = self._take()
        start = _place(slot)
        # The length last: what has none was not kept, and is in its landing still.
        self._memory[start + _LENGTH.size : start + _LENGTH.size + len(record)] = record
        _LENGTH.pack_into(self._memory, start, len(record))
        return slot

    def release(self, slot: int) -> None:
        """What was kept there is answered."""
        _LENGTH.pack_into(self._memory, _place(slot), 0)
        self._free.append(slot)

    def _take(self) -> int:
        try:
            return self._free.pop()
        except IndexError:
            return self._grow()

    def _grow(self) -> int:
        with self._growing:
            if self._used == _RECORDS:
                raise MemoryError("the journal is full")
            self._used += 1
            _LENGTH.pack_into(self._memory, 0, self._used)
            return self._used - 1

    def _length(self, slot: int) -> int:
        length: int = _LENGTH.unpack_from(self._memory, _place(slot))[0]
        return length


def _place(slot: int) -> int:
    return _TABLE + slot * _RECORD
