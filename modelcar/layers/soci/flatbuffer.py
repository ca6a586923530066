"""Writes FlatBuffers: tables of scalars, strings and vectors, from the end to the start as the format's own writers do.

Whoever builds the same parts in the same order gets the same bytes as from the Go library. Source: FlatBuffers,
"Internals".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

__all__ = ["FlatBuffer"]


class FlatBuffer:
    """One buffer. Parts come before what refers to them; each is known by its distance from the end, in bytes."""

    def __init__(self) -> None:
        self._backwards = bytearray()
        self._alignment = 1
        self._layouts: dict[tuple[int, ...], int] = {}  # vtables that are there, by the fields' places in a table

    def string(self, text: str) -> int:
        return self._vector(text.encode() + b"\0", len(text.encode()))

    def octets(self, data: bytes) -> int:
        """A vector of bytes."""
        return self._vector(data, len(data))

    def references(self, parts: Sequence[int]) -> int:
        """A vector of parts."""
        self._align(4, 4 * len(parts))
        for part in reversed(parts):
            self._refer(part)
        self._place(struct.pack("<I", len(parts)))
        return len(self._backwards)

    def table(self, fields: Mapping[int, bytes | int]) -> int:
        """A table; `fields` by their number, in the order in which they are written.

        A field is a scalar's bytes, little-endian, left out if all are zero, or a part.
        """
        bottom = len(self._backwards)
        places: dict[int, int] = {}
        for number, value in fields.items():
            if isinstance(value, int):
                self._refer(value)
            elif any(value):
                self._align(len(value), 0)
                self._place(value)
            else:
                continue
            places[number] = len(self._backwards)
        self._align(4, 0)
        self._place(bytes(4))  # where the layout is: filled in below
        table = len(self._backwards)
        layout = tuple(table - places[n] if n in places else 0 for n in range(max(places, default=-1) + 1))
        if layout not in self._layouts:
            words = (2 * len(layout) + 4, table - bottom, *layout)
            self._place(struct.pack(f"<{len(words)}H", *words))
            self._layouts[layout] = len(self._backwards)
        self._backwards[table - 4 : table] = struct.pack("<i", self._layouts[layout] - table)[::-1]
        return table

    def finish(self, root: int) -> bytes:
        """The buffer, whose root is that table."""
        self._align(self._alignment, 4)
        self._refer(root)
        return bytes(self._backwards[::-1])

    def _vector(self, data: bytes, count: int) -> int:
        self._align(4, len(data))
        self._place(data)
        self._place(struct.pack("<I", count))
        return len(self._backwards)

    def _refer(self, part: int) -> None:
        self._align(4, 0)
        self._place(struct.pack("<I", len(self._backwards) - part + 4))

    def _align(self, size: int, more: int) -> None:
        """Fill up so that what is placed after `more` bytes begins at a multiple of `size` from the end."""
        self._alignment = max(self._alignment, size)
        self._place(bytes(-(len(self._backwards) + more) % size))

    def _place(self, data: bytes) -> None:
        self._backwards += data[::-1]
