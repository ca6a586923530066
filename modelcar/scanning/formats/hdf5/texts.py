"""Texts in attributes and datasets: in place, or in a heap that all of a file share."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.hdf5.file import Hdf5
from modelcar.scanning.formats.hdf5.headers import Message
from modelcar.scanning.formats.hdf5.rules import NotRead
from modelcar.scanning.formats.hdf5.types import REFERENCE_SIZE, Datatype, read_shape, read_type

__all__ = ["GlobalHeap", "Text", "attribute_texts", "texts_in"]

Text = tuple[int, bytes]
"""Where it lies in the file, and what it says."""


class GlobalHeap:
    """The heaps of one file. An object in them is accounted for once something refers to it."""

    def __init__(self, file: Hdf5) -> None:
        self._file = file
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}

    def object(self, address: int, number: int, size: int | None = None) -> Text:
        """
        Raises:
            Malformed: it is not there, or has another size.
        """
        if address not in self._heaps:
            self._heaps[address] = self._open(address)
        at, length = self._heaps[address].get(number, (0, -1))
        if length < 0 or size not in (None, length):
            raise Malformed("a text is not in its heap", self._file.offset(address))
        size = length
        self._file.account(at, size)
        self._file.account_for_zeros(at + size, -size % 8)
        return self._file.offset(at), self._file.read(at, size)

    def _open(self, address: int) -> dict[int, tuple[int, int]]:
        """The objects of a heap: their numbers, and where they lie; accounts for all but the objects."""
        file = self._file
        file.visit(address)
        fields = file.fields(address, 16)
        fields.expect(b"GCOL\x01\0\0\0")
        end = address + fields.number(8)
        objects: dict[int, tuple[int, int]] = {}
        at = address + 16
        while at + 16 <= end:
            file.scan.budget.check_time()
            head = file.fields(at, 16)
            number = head.number(2)
            head.raw(6)
            size = head.number(8)
            if number == 0:  # the room that is left, its own head included
                file.account_for_zeros(at + 16, min(size, end - at) - 16)
                at += max(size, 16)
                continue
            if number in objects or at + 16 + size > end:
                raise Malformed("a heap is damaged", file.offset(at))
            objects[number] = (at + 16, size)
            at += 16 + size + -size % 8
        file.account_for_zeros(at, end - at)
        return objects


def texts_in(file: Hdf5, heap: GlobalHeap, kind: Datatype, data: bytes, offset: int) -> Iterator[Text]:
    """The texts that elements of this kind are; `data` lies at `offset` of the file."""
    if kind.is_text:
        for at in range(0, len(data), max(kind.size, 1)):
            yield offset + at, data[at : at + kind.size]
    elif kind.is_variable or kind.is_sequence:
        for at in range(0, len(data) - REFERENCE_SIZE + 1, REFERENCE_SIZE):
            file.scan.budget.check_time()
            size, address, number = (
                int.from_bytes(data[at + i : at + j], "little") for i, j in ((0, 4), (4, 12), (12, 16))
            )
            if size:
                yield heap.object(address, number, size)


def attribute_texts(file: Hdf5, heap: GlobalHeap, message: Message) -> Iterator[Text]:
    """The texts in an attribute; accounts for it.

    Raises:
        Malformed: it is not understood, or holds what is neither a number nor a text.
    """
    fields = message.fields()
    version, flags = fields.number(1), fields.number(1)
    if version not in (1, 2, 3) or flags:
        raise NotRead("an attribute of an unknown kind", file.offset(message.address))
    name, kind_size, shape_size = fields.number(2), fields.number(2), fields.number(2)
    fields.raw(1 if version == 3 else 0)
    step = 8 if version == 1 else 1
    fields.raw(name + -name % step)
    at = fields.at
    kind = read_type(fields)
    fields.raw(at + kind_size + -kind_size % step - fields.at)
    at = fields.at
    shape = read_shape(fields)
    fields.raw(at + shape_size + -shape_size % step - fields.at)
    offset = file.offset(message.address) + fields.at
    data = fields.raw(kind.size * math.prod(shape))
    if not (kind.is_plain or kind.is_text or kind.is_variable):
        raise NotRead("an attribute that holds neither numbers nor texts", file.offset(message.address))
    message.account(file, fields.at)
    yield from texts_in(file, heap, kind, data, offset)
