"""How much has come of chunks that are not here yet: see `have` in docs/formats/partial-blobs.md."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

__all__ = ["PART", "Arrival", "Parts"]

PART: Final = 256 << 10
"""Bytes. A count of them is one byte: a chunk has sixteen."""


@dataclass(slots=True, eq=False)
class Arrival:
    """The right to keep a chunk while it comes. `resumed`: bytes of it that were kept before, `kept`: that are now."""

    number: int
    resumed: int = 0
    kept: int = 0


class Parts:
    """A count for each chunk in a file, from `offset` on. Who changes one sees to it that nobody else does."""

    def __init__(self, fd: int, offset: int, chunks: int) -> None:
        self._fd, self._offset = fd, offset
        self._counts = bytearray(chunks)
        self._owners: dict[int, Arrival] = {}
        self._is_in_file = False

    def take_over(self, counts: bytes) -> None:
        """Begin with what the file says: nothing, or a byte for each chunk."""
        self._counts[:] = counts or bytes(len(self._counts))
        self._is_in_file = bool(counts)

    def forget(self) -> None:
        """Nothing of what the file says is to be believed, ever. Raises `OSError`."""
        os.ftruncate(self._fd, self._offset)

    def of(self, number: int) -> int:
        """Bytes."""
        return self._counts[number] * PART

    def begin(self, number: int, *, anew: bool) -> Arrival:
        """Whoever had the right before has it no more. `anew`: what has come counts for nothing. Raises `OSError`."""
        if anew:
            self._set(number, 0)
        self._owners[number] = arrival = Arrival(number, self.of(number), self.of(number))
        return arrival

    def grows(self, arrival: Arrival, size: int) -> None:
        """So much of it is kept, whole parts. Raises `OSError`."""
        self._set(arrival.number, size)
        arrival.kept = size

    def end(self, number: int, arrival: Arrival | None) -> int:
        """It comes no more; returns the bytes that `arrival` has kept, if it still had the right. Raises `OSError`."""
        had = self._owners.pop(number, None)
        self._set(number, 0)
        return arrival.kept if arrival is not None and had is arrival else 0

    def discard(self, arrival: Arrival) -> None:
        """What has come is wrong. Raises `OSError`."""
        if self.is_of(arrival):
            self.end(arrival.number, arrival)
        arrival.kept = arrival.resumed

    def close(self) -> None:
        """The file is the caller's to close; nothing is written to it from now on."""
        self._fd = -1

    def is_of(self, arrival: Arrival) -> bool:
        return self._owners.get(arrival.number) is arrival

    def _set(self, number: int, size: int) -> None:
        count = size // PART
        if self._counts[number] == count:
            return
        if not self._is_in_file:
            os.ftruncate(self._fd, self._offset + len(self._counts))
            self._is_in_file = True
        os.pwrite(self._fd, bytes([count]), self._offset + number)
        self._counts[number] = count
