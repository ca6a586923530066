"""Counts in a mapped file: they survive the kill -9 of the process that counts."""

from __future__ import annotations

import mmap
import struct
from enum import IntEnum
from pathlib import Path
from typing import Final

__all__ = ["Counted", "Counters"]

_NUMBER: Final = struct.Struct("<Q")


class Counted(IntEnum):
    """What is counted; bytes are those that the kernel took and handed on."""

    BYTES = 0
    BLOB_BYTES = 1
    REQUESTS = 2
    CONNECTIONS = 3


class Counters:
    """One process adds, any process reads."""

    def __init__(self, path: Path) -> None:
        size = _NUMBER.size * len(Counted)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def __getitem__(self, what: Counted) -> int:
        value: int = _NUMBER.unpack_from(self._map, what * _NUMBER.size)[0]
        return value

    def add(self, what: Counted, amount: int) -> None:
        _NUMBER.pack_into(self._map, what * _NUMBER.size, max(0, self[what] + amount))
