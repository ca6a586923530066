"""Vetted globals of NumPy: arrays, scalars and their types.

A structured type can lie about which of its fields are pointers to objects, so only simple types are taken, and only
with the size that their code says.
"""

from __future__ import annotations

import re
from math import prod
from typing import Final

from modelcar.scanning.formats.pickles import arguments as a
from modelcar.scanning.formats.pickles.values import DATA, Box, Instance, Kind, Plain, Value, constant, items_of
from modelcar.scanning.formats.pickles.words import words

__all__ = ["DTYPE", "NUMPY", "item_size", "simple_dtype"]

DTYPE: Final = ("numpy", "dtype")
_CODE: Final = re.compile(r"([?biufcSUVMmO])([0-9]{0,9})")
_OBJECT_FLAGS: Final = 63
_BYTE_ORDERS: Final = a.exactly("<", ">", "=", "|", b"<", b">", b"=", b"|")
_UNIT: Final = a.signature(a.is_bytes, a.is_size, a.is_size, a.is_size)
_is_dtype_instance: Final = a.made_by("numpy.dtype")


def simple_dtype(value: Value) -> str | None:
    """The code of a type that was made and restored as NumPy does, such as `f4`; `None` for everything else."""
    if not isinstance(value, Instance) or not value.built or not _is_dtype_instance(value):
        return None
    code = constant(value.args[0]) if value.args else None
    return code if isinstance(code, str) else None


def item_size(code: str) -> int:
    """Bytes of one element of a type."""
    match = _CODE.fullmatch(code)
    size = int(match[2] or 1) if match else 0
    return size * 4 if code.startswith("U") else size


def _dtype_state(dtype: Instance, state: Value) -> bool:
    """(version, byte order, no subarray, no names, no fields, size, alignment, flags[, unit of time])"""
    code = constant(dtype.args[0]) if dtype.args else None
    if not isinstance(state, tuple) or len(state) not in (8, 9) or not isinstance(code, str):
        return False
    version, order, subarray, names, fields, size, alignment, flags = state[:8]
    sized = code[:1] in "SUV"
    return (
        a.exactly(3, 4)(version)
        and _BYTE_ORDERS(order)
        and subarray is None
        and names is None
        and fields is None
        and a.exactly(item_size(code) if sized else -1)(size)
        and a.exactly(*((1, 4) if sized else (-1,)))(alignment)
        and a.exactly(*((_OBJECT_FLAGS,) if code[:1] == "O" else (0, 8) if code[:1] == "U" else (0,)))(flags)
        and (len(state) == 8 or _is_unit(state[8]))
    )


def _is_unit(value: Value) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not a.empty_or_none(value[0]):
        return False
    return isinstance(value[1], tuple) and _UNIT(value[1])


def _is_dtype(value: Value) -> bool:
    return simple_dtype(value) is not None


def _is_plain_dtype(value: Value) -> bool:
    """Whose elements are bytes and no objects."""
    code = simple_dtype(value)
    return code is not None and not code.startswith("O")


def _array_state(_: Instance, state: Value) -> bool:
    """(version, shape, type, whether in Fortran's order, bytes or a list of objects)"""
    if not isinstance(state, tuple) or len(state) != 5:
        return False
    version, shape, dtype, fortran, data = state
    if not (a.exactly(0, 1)(version) and a.is_sizes(shape) and a.is_flag(fortran)):
        return False
    if _is_plain_dtype(dtype):
        return a.is_bytes(data)
    if not (_is_dtype(dtype) and isinstance(data, Box) and data.kind is Kind.LIST):
        return False
    # NumPy takes as many objects as the shape says, also from behind the end of the list.
    return prod(constant(size) for size in items_of(shape) or ()) == len(data.items) + data.more  # type: ignore[misc]  # the caller knows them to be numbers


_ARRAY: Final = Plain(
    call=a.signature(a.one_of("numpy.ndarray"), a.is_sizes, a.is_bytes),
    state=_array_state,
)
_SCALAR: Final = Plain(call=a.signature(_is_plain_dtype, a.is_bytes))
_FROM_BUFFER: Final = Plain(
    call=a.signature(
        a.is_bytes, _is_plain_dtype, a.is_sizes, a.exactly("C", "F", "K"), a.optional(a.is_sizes), needed=4
    )
)
_SCALAR_TYPES: Final = words(
    """bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64
    longdouble complex64 complex128 str_ bytes_ datetime64 timedelta64 ndarray"""
)

NUMPY: Final[dict[tuple[str, str], Plain]] = {
    DTYPE: Plain(call=a.signature(a.matches(_CODE.pattern), a.is_flag, a.is_flag, needed=1), state=_dtype_state),
    **{("numpy", name): DATA for name in _SCALAR_TYPES},
    **{
        (f"numpy.{core}.{module}", name): plain
        for core in ("core", "_core")
        for module, name, plain in (
            ("multiarray", "_reconstruct", _ARRAY),
            ("multiarray", "scalar", _SCALAR),
            ("numeric", "_frombuffer", _FROM_BUFFER),
        )
    },
}
