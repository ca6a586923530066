"""What an array file says about its array, read without evaluating anything."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.numpys.literals import Literal, LiteralError, parse_literal

__all__ = ["ArrayType", "array_type"]

_SIMPLE: Final = re.compile(r"[<>=|]?(?:(?P<kind>[biufcmMSaUVO])(?P<size>[0-9]{0,9})|\?)(?:\[[0-9A-Za-z/]{1,16}\])?")
_SIZES: Final = {
    "b": {1},
    "i": {1, 2, 4, 8},
    "u": {1, 2, 4, 8},
    "f": {2, 4, 8, 12, 16},
    "c": {8, 16, 24, 32},
    "m": {8},
    "M": {8},
    "O": {4, 8},
}
_KEYS: Final = {"descr", "fortran_order", "shape"}
_MAX_DIMENSIONS: Final = 64  # what numpy can hold
_MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayType:
    """`size` is bytes of all elements together; with `has_objects` they are a pickle in place of numbers."""

    size: int
    has_objects: bool


def array_type(header: str) -> ArrayType:
    """What the text of a header promises.

    Raises:
        Malformed: it is not one that numpy writes.
    """
    try:
        fields = parse_literal(header)
    except LiteralError as e:
        raise Malformed(f"the header of the array is no plain dictionary: {e}") from None
    if not isinstance(fields, dict) or fields.keys() != _KEYS or not isinstance(fields["fortran_order"], bool):
        raise Malformed("the header of the array does not have the fields that it should")
    if not isinstance(fields["shape"], tuple):  # a number will do for a part of an element, and not here
        raise Malformed("the shape of the array is none")
    size, has_objects = _element(fields["descr"], 0)
    return ArrayType(size=size * math.prod(_shape(fields["shape"])), has_objects=has_objects)


def _element(descr: Literal, depth: int) -> tuple[int, bool]:
    """Bytes of one element, and whether it refers to Python objects."""
    if depth > _MAX_DEPTH:
        raise Malformed("the type of the array is nested too deeply")
    if isinstance(descr, str):
        return _simple(descr)
    if isinstance(descr, tuple) and len(descr) == 2:
        size, has_objects = _element(descr[0], depth + 1)
        return size * math.prod(_shape(descr[1])), has_objects
    if not isinstance(descr, list):
        raise Malformed("the type of the array is not one that numpy writes")
    fields = [_field(field, depth) for field in descr]
    return sum(size for size, _ in fields), any(has_objects for _, has_objects in fields)


def _field(field: Literal, depth: int) -> tuple[int, bool]:
    """As `_element`, for one field of a structure: its name, perhaps with a title, its type, perhaps a shape."""
    if not isinstance(field, tuple) or len(field) not in (2, 3) or not _is_name(field[0]):
        raise Malformed("a field in the type of the array is not one that numpy writes")
    size, has_objects = _element(field[1], depth + 1)
    return size * (math.prod(_shape(field[2])) if len(field) == 3 else 1), has_objects


def _is_name(name: Literal) -> bool:
    if isinstance(name, tuple):
        return len(name) == 2 and all(isinstance(part, str) for part in name)
    return isinstance(name, str)


def _simple(descr: str) -> tuple[int, bool]:
    match = _SIMPLE.fullmatch(descr)
    if match is None:
        raise Malformed("the type of the array is not one that numpy writes")
    kind = match["kind"] or "b"
    size = int(match["size"] or (1 if kind == "b" else 8 if kind == "O" else 0))
    if size not in _SIZES.get(kind, {size}):
        raise Malformed("the type of the array is not one that numpy writes")
    return size * (4 if kind == "U" else 1), kind == "O"


def _shape(shape: Literal) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sizes, tuple) or len(sizes) > _MAX_DIMENSIONS:
        raise Malformed("the shape of the array is none")
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in sizes):
        raise Malformed("the shape of the array is none")
    return sizes
