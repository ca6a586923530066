"""Of what elements data is made, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.hdf5.file import Fields

__all__ = ["REFERENCE_SIZE", "Datatype", "read_shape", "read_type"]

_INTEGER, _FLOAT, _TIME, _TEXT, _BITS, _OPAQUE, _STRUCTURE, _REFERENCE, _NAMED, _VARIABLE, _ARRAY = range(11)
_FIXED_PROPERTIES: Final = {_INTEGER: 4, _FLOAT: 12, _TIME: 2, _BITS: 4, _TEXT: 0, _REFERENCE: 0}
REFERENCE_SIZE: Final = 16  # bytes: a length, the address of a heap and a number in it
_MAX_DEPTH: Final = 8
_MOST_MEMBERS: Final = 10_000
_MAX_DIMENSIONS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Datatype:
    """`size` is bytes an element.

    Attributes:
        is_text: whether elements are texts of that many bytes.
        is_variable: whether they are references to texts of any length; `is_sequence` to other values.
        is_plain: whether they are numbers, or structures of numbers and texts.
    """

    size: int
    is_text: bool = False
    is_variable: bool = False
    is_sequence: bool = False
    is_plain: bool = False


def read_type(fields: Fields, depth: int = 0) -> Datatype:
    """
    Raises:
        Malformed: it is not understood.
    """
    start = fields.address + fields.at
    if depth > _MAX_DEPTH:
        raise Malformed("a type is nested too deeply", start)
    version, kind = divmod(fields.number(1), 16)
    bits, size = fields.number(3), fields.number(4)
    if version not in (1, 2, 3) or kind > _ARRAY:
        raise Malformed("a type is not known", start)
    if kind in _FIXED_PROPERTIES:
        fields.raw(_FIXED_PROPERTIES[kind])
        return Datatype(size=size, is_text=kind == _TEXT, is_plain=kind not in (_TEXT, _REFERENCE))
    if kind == _OPAQUE:
        fields.raw((bits & 0xFF) + -(bits & 0xFF) % 8)
        return Datatype(size=size)
    if kind == _VARIABLE:
        read_type(fields, depth + 1)
        if size != REFERENCE_SIZE:
            raise Malformed("a type is not known", start)
        return Datatype(size=size, is_variable=bits & 0x0F == 1, is_sequence=bits & 0x0F != 1)
    parts = _parts(fields, kind, version, bits & 0xFFFF, size, depth)
    return Datatype(size=size, is_plain=all(part.is_plain or part.is_text for part in parts))


def _parts(fields: Fields, kind: int, version: int, count: int, size: int, depth: int) -> list[Datatype]:
    """The types that a structure, an enumeration or an array of `size` bytes is made of."""
    if count > _MOST_MEMBERS:
        raise Malformed("a type has too many members", fields.address)
    if kind == _STRUCTURE:
        return [_member(fields, version, size, depth) for _ in range(count)]
    if kind == _ARRAY:
        rank = fields.number(1)
        fields.raw(0 if version == 3 else 3)
        fields.raw(4 * rank * (1 if version == 3 else 2))  # with a permutation
        return [read_type(fields, depth + 1)]
    base = read_type(fields, depth + 1)
    for _ in range(count):
        fields.text(padded=version < 3)
    fields.raw(count * base.size)
    return [base]


def _member(fields: Fields, version: int, size: int, depth: int) -> Datatype:
    """The type of a member of a structure of `size` bytes, behind its name and its place."""
    fields.text(padded=version < 3)
    fields.raw({1: 32, 2: 4}.get(version, (size.bit_length() + 7) // 8))
    return read_type(fields, depth + 1)


def read_shape(fields: Fields) -> tuple[int, ...]:
    """How many elements there are in each direction.

    Raises:
        Malformed: it is not understood.
    """
    start = fields.address + fields.at
    version, rank, flags = fields.number(1), fields.number(1), fields.number(1)
    kind = fields.number(1)
    if version == 1:
        fields.raw(4)
        kind = 1 if rank else 0
    elif version != 2 or kind > 2:
        raise Malformed("a shape is not known", start)
    if rank > _MAX_DIMENSIONS or flags & ~1:
        raise Malformed("a shape is not known", start)
    sizes = tuple(fields.number(8) for _ in range(rank))
    fields.raw(8 * rank if flags & 1 else 0)
    return (0,) if kind == 2 else sizes
