"""Where the numbers of a dataset lie: nothing but they may lie there."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.hdf5.file import UNDEFINED, Fields, Hdf5
from modelcar.scanning.formats.hdf5.groups import tree_children
from modelcar.scanning.formats.hdf5.headers import Message
from modelcar.scanning.formats.hdf5.rules import NotRead

__all__ = ["Array", "Stored", "is_virtual", "read_filters", "stored"]

_CONTIGUOUS, _CHUNKED, _VIRTUAL = 1, 2, 3
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_MAX_FILTERS: Final = 8
_CHUNK_ROOM: Final = 32  # half of how many chunks a node has room for, as the library writes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """What a dataset should hold: elements of `element` bytes, so many in each direction; `filters` in their order."""

    element: int
    shape: tuple[int, ...]
    filters: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.element * math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A piece of a dataset: where it lies, and its bytes, if they had to be decompressed."""

    address: int
    size: int
    data: bytes | None = None

    def read(self, file: Hdf5) -> bytes:
        return file.read(self.address, self.size) if self.data is None else self.data


def read_filters(file: Hdf5, message: Message) -> tuple[int, ...] | str:
    """The filters that data went through, in that order; a text that names one that is not read here.

    Raises:
        Malformed: they are not understood.
    """
    fields = message.fields()
    version, count = fields.number(1), fields.number(1)
    if version not in (1, 2) or count > _MAX_FILTERS:
        raise Malformed("filters are not understood", message.address)
    fields.raw(6 if version == 1 else 0)
    filters = [_filter(fields, version) for _ in range(count)]
    message.account(file, fields.at)
    unknown = [each for each in filters if each not in (_DEFLATE, _SHUFFLE, _FLETCHER)]
    return f"number {unknown[0]}" if unknown else tuple(filters)


def _filter(fields: Fields, version: int) -> int:
    number = fields.number(2)
    name = fields.number(2) if version == 1 or number >= 256 else 0
    fields.number(2)
    values = fields.number(2)
    fields.raw(name + (-name % 8 if version == 1 else 0))
    fields.raw(4 * values + (4 if version == 1 and values % 2 else 0))
    return number


def is_virtual(message: Message) -> bool:
    """Whether a dataset is made of parts of others, perhaps in other files."""
    return message.body[:2] == bytes((4, _VIRTUAL))


def stored(file: Hdf5, message: Message, array: Array) -> Iterator[Stored]:
    """Where a dataset lies, piece by piece; accounts for each.

    Raises:
        Malformed: more or less is there than it holds, or it lies there in a way that is not read here.
    """
    fields = message.fields()
    version, kind = fields.number(1), fields.number(1)
    if version not in (3, 4) or kind > _CHUNKED or (version == 4 and kind == _CHUNKED):
        raise NotRead("data that lies there in an unknown way", message.address)
    if kind == _CHUNKED:
        yield from _chunks(file, message, fields, array)
        return
    if kind == _CONTIGUOUS:
        address, size = fields.number(8), fields.number(8)
        if address != UNDEFINED:
            file.visit(address)
    else:
        size = fields.number(2)
        address = message.address + fields.at
        fields.raw(size)
    message.account(file, fields.at)
    if address == UNDEFINED:  # never written
        return
    if size != array.size or array.filters:
        raise Malformed(f"a dataset of {array.size} bytes has {size}", file.offset(message.address))
    file.read(address + size, 0)
    file.account(address, size)
    yield Stored(address=address, size=size)


def _chunks(file: Hdf5, message: Message, fields: Fields, array: Array) -> Iterator[Stored]:
    rank, tree = fields.number(1), fields.number(8)
    chunk = [fields.number(4) for _ in range(rank)]
    message.account(file, fields.at)
    if len(chunk) != len(array.shape) + 1 or chunk[-1] != array.element or not all(chunk):
        raise Malformed("chunks do not fit what they hold", file.offset(message.address))
    if tree == UNDEFINED:
        return
    seen: set[bytes] = set()
    for key, address in tree_children(file, tree, 1, 8 + 8 * rank, _CHUNK_ROOM):
        size, mask = int.from_bytes(key[:4], "little"), int.from_bytes(key[4:8], "little")
        place = [int.from_bytes(key[i : i + 8], "little") for i in range(8, 8 + 8 * rank, 8)]
        if place[-1] or any(at >= n or at % step for at, n, step in zip(place, array.shape, chunk, strict=False)):
            raise Malformed("a chunk lies outside of what it belongs to", file.offset(address))
        if key[8:] in seen:
            raise Malformed("two chunks take the same place", file.offset(address))
        seen.add(key[8:])
        file.visit(address)
        applied = [each for i, each in enumerate(array.filters) if not mask >> i & 1]
        yield _chunk(file, address, size, math.prod(chunk), applied)


def _chunk(file: Hdf5, address: int, size: int, expected: int, filters: Sequence[int]) -> Stored:
    """A chunk that takes `size` bytes of the file and must come to `expected`."""
    if not filters or set(filters) == {_SHUFFLE}:
        file.read(address + size, 0)
        decoded, length = None, size
    else:
        file.scan.budget.check_piece(max(size, expected))
        decoded = file.read(address, size)
        for each in reversed(filters):
            decoded = _undone(each, decoded, expected + 4 * len(filters), file, address)
        length = len(decoded)
    if length != expected:
        raise Malformed(f"a chunk of {expected} bytes has {length}", file.offset(address))
    file.account(address, size)
    return Stored(address=address, size=size, data=decoded if _SHUFFLE not in filters else None)


def _undone(number: int, data: bytes, most: int, file: Hdf5, address: int) -> bytes:
    """`data` before a filter went over it; a shuffle is not undone, because the order of bytes does not matter here."""
    if number == _FLETCHER:
        return data[:-4]
    if number == _SHUFFLE:
        return data
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, most)
    except zlib.error:
        raise Malformed("a chunk is damaged", file.offset(address)) from None
    if not inflater.eof or inflater.unused_data:
        raise Malformed("a chunk is not what it should be", file.offset(address))
    file.scan.budget.expand(len(result), total=len(result), compressed=len(data))
    return result
