"""GGUF's primitive values: a forward-only reader that never allocates more than the file can back up.

```
string: u64 length ‖ bytes        array: u32 element type ‖ u64 count ‖ elements        all little-endian
```
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from modelcar.checkpoint.formats.header import MAX_HEADER
from modelcar.checkpoint.formats.reader import malformed, read_exactly

if TYPE_CHECKING:
    from modelcar.files import ReadAt

__all__ = ["DAMAGED", "GgufScalar", "GgufValue", "GgufValues", "LongArray"]

DAMAGED = "download the file again, or convert the model to GGUF anew"

GgufScalar = int | float | bool | str

_CHUNK = 2**20
_STRING, _ARRAY, _BOOL = 8, 9, 7
# number: (name, struct format)
_SCALARS: dict[int, tuple[str, struct.Struct]] = {
    0: ("uint8", struct.Struct("<B")),
    1: ("int8", struct.Struct("<b")),
    2: ("uint16", struct.Struct("<H")),
    3: ("int16", struct.Struct("<h")),
    4: ("uint32", struct.Struct("<I")),
    5: ("int32", struct.Struct("<i")),
    6: ("float32", struct.Struct("<f")),
    7: ("bool", struct.Struct("<B")),
    10: ("uint64", struct.Struct("<Q")),
    11: ("int64", struct.Struct("<q")),
    12: ("float64", struct.Struct("<d")),
}
_U32 = _SCALARS[4][1]
_U64 = _SCALARS[10][1]
_LENGTH = 8  # bytes before a string's own
_KEPT_ELEMENTS = 256  # arrays up to here are kept; vocabularies are not
_MAX_DEPTH = 4  # arrays in arrays; llama.cpp reads none
_MAX_ARRAYS = 100_000  # a file, nested ones included


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array that was checked and passed over: a vocabulary, or arrays in an array."""

    element_type: str
    length: int


GgufValue = GgufScalar | tuple[GgufScalar, ...] | LongArray


class GgufValues:
    """Reads values one after the other from the start of a file of `size` bytes; `path` is for messages.

    Everything raises `MalformedFile` where the file is too short for what it announces.
    """

    def __init__(self, read_at: ReadAt, size: int, path: str) -> None:
        self._read_at = read_at
        self._size = size
        self._path = path
        self._data = bytearray()
        self._pos = 0
        self._arrays = 0

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._pos

    def u32(self) -> int:
        return int(self._scalar(_U32))

    def u64(self) -> int:
        return int(self._scalar(_U64))

    def u64s(self, count: int) -> tuple[int, ...]:
        start = self._advance(8 * count)
        return struct.unpack_from(f"<{count}Q", self._data, start)

    def take(self, length: int) -> bytes:
        start = self._advance(length)
        return bytes(self._data[start : self._pos])

    def name(self, what: str) -> str:
        """A key or tensor name: valid UTF-8 of at most 65,535 bytes."""
        length = self.u64()
        if length > 0xFFFF:
            self.fail(f"has a {what} of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            self.fail(f"has a {what} that is not UTF-8")

    def count(self, what: str, least: int, limit: int) -> int:
        """A number of things that take at least `least` bytes each."""
        count = self.u64()
        if count > self._left() // least:
            self.fail(f"announces {count} {what}, more than its {self._size} bytes can hold")
        if count > limit:
            self.fail(f"announces {count} {what}; the limit is {limit}")
        return count

    def value(self) -> GgufValue:
        """A value with its type in front of it. Text that is not UTF-8 is made so."""
        return self._typed(self.u32())

    def fail(self, problem: str, *, hint: str = DAMAGED) -> NoReturn:
        raise malformed(self._path, problem, hint=hint)

    def _typed(self, kind: int) -> GgufValue:
        if kind == _ARRAY:
            return self._array(1)
        if kind == _STRING:
            return self._string()
        if kind not in _SCALARS:
            self.fail(f"uses the value type {kind}, which GGUF does not have")
        value = self._scalar(_SCALARS[kind][1])
        return self._checked_bool(value) if kind == _BOOL else value

    def _string(self) -> str:
        return self.take(self.u64()).decode(errors="replace")

    def _array(self, depth: int) -> GgufValue:
        self._arrays += 1
        if depth > _MAX_DEPTH or self._arrays > _MAX_ARRAYS:
            self.fail("nests arrays in arrays beyond reason")
        kind, length = self.u32(), self.u64()
        if kind == _ARRAY:
            self._need_elements(length, 12)
            for _ in range(length):
                self._array(depth + 1)
            return LongArray("array", length)
        return self._strings(length) if kind == _STRING else self._scalars(kind, length)

    def _strings(self, count: int) -> GgufValue:
        if count <= _KEPT_ELEMENTS:
            return tuple(self._string() for _ in range(count))
        self._skip_strings(count)
        return LongArray("string", count)

    def _scalars(self, kind: int, count: int) -> GgufValue:
        if kind not in _SCALARS:
            self.fail(f"uses the array element type {kind}, which GGUF does not have")
        name, layout = _SCALARS[kind]
        self._need_elements(count, layout.size)
        start = self._advance(count * layout.size)
        if count > _KEPT_ELEMENTS:
            return LongArray(name, count)
        values = struct.unpack_from(f"<{count}{layout.format[1:]}", self._data, start)
        return tuple(map(self._checked_bool, values)) if kind == _BOOL else values

    def _checked_bool(self, value: float) -> bool:
        if value not in (0, 1):
            self.fail(f"has a boolean with the value {value}")
        return bool(value)

    def _skip_strings(self, count: int) -> None:
        """Pass over `count` strings without making objects of them: vocabularies have hundreds of thousands."""
        self._need_elements(count, _LENGTH)
        data, pos, have = self._data, self._pos, len(self._data)
        unpack = _U64.unpack_from
        for _ in range(count):
            if pos + _LENGTH > have:
                have = self._fill(pos + _LENGTH)
            pos += _LENGTH + unpack(data, pos)[0]
        self._fill(pos)
        self._pos = pos

    def _scalar(self, layout: struct.Struct) -> int | float:
        start = self._advance(layout.size)
        value: int | float = layout.unpack_from(self._data, start)[0]
        return value

    def _need_elements(self, count: int, least: int) -> None:
        if count > self._left() // least:
            self.fail(f"has an array of {count} elements, more than its {self._size} bytes can hold")

    def _left(self) -> int:
        return self._size - self._pos

    def _advance(self, length: int) -> int:
        """Step over `length` bytes, which are in the buffer afterwards; returns where they begin."""
        start = self._pos
        end = start + length
        if end > len(self._data):
            self._fill(end)
        self._pos = end
        return start

    def _fill(self, end: int) -> int:
        """Make the buffer reach at least to `end`; returns how far it reaches."""
        have = len(self._data)
        if end <= have:
            return have
        if end > self._size:
            self.fail(f"is cut short: its header needs at least {end} bytes and the file has {self._size}")
        if end > MAX_HEADER:
            self.fail(f"has a header of more than {MAX_HEADER} bytes")
        more = min(max(end - have, _CHUNK), self._size - have)
        self._data += read_exactly(self._read_at, have, more, self._path)
        return len(self._data)
