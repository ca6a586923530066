"""What a group holds: names, and the addresses of the headers of what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.hdf5.file import UNDEFINED, Hdf5
from modelcar.scanning.formats.hdf5.headers import Message
from modelcar.scanning.formats.hdf5.rules import NotRead

__all__ = ["LocalHeap", "linked", "members", "tree_children"]

_NO_FREE: Final = 1
_SYMBOL: Final = 40  # bytes: an entry of a leaf
_HARD, _SOFT, _EXTERNAL = 0, 1, 64
_MAX_LEVEL: Final = 20
_MAX_NAME: Final = 4096  # bytes


class LocalHeap:
    """The texts of one group. What is read is accounted for."""

    def __init__(self, file: Hdf5, address: int) -> None:
        file.visit(address)
        fields = file.fields(address, 32)
        fields.expect(b"HEAP\0\0\0\0")
        self._size, free, self._data = fields.number(8), fields.number(8), fields.number(8)
        self._file = file
        file.visit(self._data)
        file.read(self._data, self._size)
        steps = 0
        while free != _NO_FREE:
            block = file.fields(self._data + free, 16)
            following, size = block.number(8), block.number(8)
            file.account_for_zeros(self._data + free + 16, min(size, self._size - free) - 16)
            free, steps = following, steps + 1
            if (free > self._size and free != _NO_FREE) or steps > self._size // 16:
                raise Malformed("the free room of a heap has no end", file.offset(address))
        file.account_for_zeros(self._data, min(8, self._size))  # the empty name

    def text(self, offset: int) -> bytes:
        """
        Raises:
            Malformed: there is none.
        """
        if offset >= self._size:
            raise Malformed("a name lies outside of its heap", self._file.offset(self._data))
        data = self._file.read(self._data + offset, min(self._size - offset, _MAX_NAME))
        text, zero, _ = data.partition(b"\0")
        if not zero:
            raise Malformed("a name has no end", self._file.offset(self._data + offset))
        self._file.account(self._data + offset, len(text) + 1)
        padding = -(len(text) + 1) % 8
        self._file.account_for_zeros(self._data + offset + len(text) + 1, min(padding, len(data) - len(text) - 1))
        return text


def tree_children(file: Hdf5, root: int, kind: int, key_size: int, room: int) -> Iterator[tuple[bytes, int]]:
    """The leaves below a node of a tree of version 1: the key before each, and its address.

    `room` is half of how many children a node has room for.
    """
    waiting = [(root, _MAX_LEVEL)]
    while waiting:
        address, highest = waiting.pop()
        file.visit(address)
        fields = file.fields(address, 24)
        fields.expect(b"TREE" + bytes([kind]))
        level, count = fields.number(1), fields.number(2)
        if level > highest or count > 2 * room:
            raise Malformed("a tree is not one", file.offset(address))
        used = count * (key_size + 8) + key_size
        entries = file.fields(address + 24, used)
        file.account_for_zeros(address + 24 + used, (2 * room - count) * (key_size + 8))
        for _ in range(count):
            key, child = entries.raw(key_size), entries.number(8)
            if level:
                waiting.append((child, level - 1))
            else:
                yield key, child


def members(file: Hdf5, message: Message) -> Iterator[int]:
    """The addresses of what a group holds that has a table of symbols."""
    fields = message.fields()
    tree, heap_address = fields.number(8), fields.number(8)
    message.account(file, 16)
    heap = LocalHeap(file, heap_address)
    for key, leaf in tree_children(file, tree, 0, 8, file.internal):
        heap.text(int.from_bytes(key, "little"))
        yield from _leaf(file, leaf, heap)


def _leaf(file: Hdf5, address: int, heap: LocalHeap) -> Iterator[int]:
    file.visit(address)
    fields = file.fields(address, 8)
    fields.expect(b"SNOD\x01\0")
    count = fields.number(2)
    if count > 2 * file.leaf:
        raise Malformed("a leaf holds more than it has room for", file.offset(address))
    entries = file.fields(address + 8, count * _SYMBOL)
    file.account_for_zeros(address + 8 + count * _SYMBOL, (2 * file.leaf - count) * _SYMBOL)
    for _ in range(count):
        name, target, cached = entries.number(8), entries.number(8), entries.number(4)
        entries.raw(4)
        scratch = entries.raw(16)
        heap.text(name)
        if cached == 2:  # a link to a name within this file
            heap.text(int.from_bytes(scratch[:4], "little"))
        elif cached > 2 or target == UNDEFINED:
            raise Malformed("a name stands for something that is not known", file.offset(address))
        else:
            yield target


def linked(file: Hdf5, message: Message) -> int | str | None:
    """The address of what a link of the newer kind stands for; a text names another file; `None` is a name in this one.

    Raises:
        Malformed: it is not understood.
    """
    fields = message.fields()
    fields.expect(b"\x01")
    flags = fields.number(1)
    kind = fields.number(1) if flags & 0x08 else _HARD
    fields.raw((8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0))
    fields.raw(fields.number(1 << (flags & 3)))
    if kind == _HARD:
        target = fields.number(8)
        message.account(file, fields.at)
        return target
    value = fields.raw(fields.number(2))
    message.account(file, fields.at)
    if kind == _SOFT:
        return None
    if kind == _EXTERNAL:
        return value[1:].partition(b"\0")[0].decode(errors="replace")
    raise NotRead("a link of a kind that only a program of its own knows", message.address)
