"""Vetted globals of torch: what rebuilds dense tensors from storages, and the names of types.

Sparse and nested tensors are not among them: torch does not check their indices. Neither are tensor subclasses, whose
functions run when they are rebuilt.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from modelcar.scanning.formats.pickles import arguments as a
from modelcar.scanning.formats.pickles.values import (
    DATA,
    Global,
    Instance,
    PersistentId,
    Plain,
    Value,
    constant,
    items_of,
)
from modelcar.scanning.formats.pickles.words import words

__all__ = ["STORAGES", "TORCH", "Storage", "storage_of"]

_ELEMENTS: Final = {
    "Double": 8,
    "Float": 4,
    "Half": 2,
    "BFloat16": 2,
    "Long": 8,
    "Int": 4,
    "Short": 2,
    "Char": 1,
    "Byte": 1,
    "Bool": 1,
    "ComplexDouble": 16,
    "ComplexFloat": 8,
    "QUInt8": 1,
    "QInt8": 1,
    "QInt32": 4,
    "QUInt4x2": 1,
    "QUInt2x4": 1,
}
# Bytes of an element, by the global that names the type of a storage.
STORAGES: Final[dict[tuple[str, str], int]] = {
    **{(module, f"{name}Storage"): size for name, size in _ELEMENTS.items() for module in ("torch", "torch.cuda")},
    ("torch", "UntypedStorage"): 1,
    ("torch.storage", "UntypedStorage"): 1,
}
_DTYPES: Final = words(
    """float64 float32 float16 bfloat16 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool
    complex128 complex64 complex32 qint8 qint32 quint8 quint4x2 quint2x4 float8_e4m3fn float8_e4m3fnuz float8_e5m2
    float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2
    uint1 uint2 uint3 uint4 uint5 uint6 uint7 int1 int2 int3 int4 int5 int6 int7
    double float half long int short"""
)
_LAYOUTS: Final = words(
    "strided per_tensor_affine per_tensor_symmetric contiguous_format channels_last preserve_format"
)


class Storage(NamedTuple):
    """What a persistent id says of a storage: its key, its number of elements, and the bytes of an element."""

    key: str
    elements: int
    element_size: int

    @property
    def size(self) -> int:
        return self.elements * self.element_size


def storage_of(value: Value) -> Storage | None:
    """From ('storage', type, key, location, number of elements[, no view]); `None` for everything else."""
    if not isinstance(value, tuple) or len(value) not in (5, 6) or not a.exactly("storage")(value[0]):
        return None
    kind, key, elements = value[1], constant(value[2]), constant(value[4])
    if not (isinstance(kind, Global) and isinstance(key, str) and a.is_text(value[3]) and isinstance(elements, int)):
        return None
    size = STORAGES.get(kind.key)
    if size is None or elements < 0 or (len(value) == 6 and value[5] is not None):
        return None
    return Storage(key, elements, size)


_is_dtype: Final = a.one_of(*(f"torch.{name}" for name in _DTYPES))
_is_device: Final = a.any_of(a.is_text, a.made_by("torch.device"))
_is_tensor: Final = a.made_by(
    *(
        f"torch._utils.{name}"
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")
    )
)
_is_array: Final = a.made_by(
    *(
        f"numpy.{core}.{name}"
        for core in ("core", "_core")
        for name in ("multiarray._reconstruct", "numeric._frombuffer")
    )
)


_is_own_file: Final = a.made_by("torch.storage._load_from_bytes")


def _no_hooks(value: Value) -> bool:
    """An OrderedDict without items: what is in it would be called."""
    return value is None or (a.made_by("collections.OrderedDict")(value) and _is_bare(value))


def _is_bare(value: Value) -> bool:
    return isinstance(value, Instance) and not value.args and not value.filled and not value.built


def _tensor(*rest: a.Check, needed: int | None = None) -> a.Signature:
    """(storage, offset, sizes, strides, ...), within the storage."""
    behind = a.signature(a.is_size, a.is_sizes, a.is_sizes, *rest, needed=None if needed is None else needed + 3)

    def check(args: tuple[Value, ...]) -> bool:
        if not args or not behind(args[1:]):
            return False
        storage = args[0]
        if not isinstance(storage, PersistentId):
            return _is_own_file(storage)  # whose size torch checks itself
        known = storage_of(storage.key)
        return known is not None and _end(*args[1:4]) <= known.elements

    return check


def _end(offset: Value, size: Value, stride: Value) -> int | float:
    """Of the last element of a tensor; infinite if it contradicts itself."""
    sizes, strides = _numbers(size), _numbers(stride)
    if len(sizes) != len(strides):
        return inf
    if 0 in sizes:
        return 0
    last = constant(offset)
    for n, step in zip(sizes, strides, strict=True):
        last += (n - 1) * step  # type: ignore[operator]  # checked to be numbers
    return last + 1  # type: ignore[operator]  # checked to be numbers


def _numbers(value: Value) -> list[int]:
    return [constant(item) for item in items_of(value) or ()]  # type: ignore[misc]  # likewise


_QUANTIZER: Final = a.signature(a.one_of("torch.per_tensor_affine"), a.is_number, a.is_int)


def _quantizer(value: Value) -> bool:
    return isinstance(value, tuple) and _QUANTIZER(value)


_REBUILDERS: Final = {
    "_rebuild_tensor": Plain(call=_tensor()),
    "_rebuild_tensor_v2": Plain(call=_tensor(a.is_flag, _no_hooks, a.empty_or_none, needed=2)),
    "_rebuild_tensor_v3": Plain(call=_tensor(a.is_flag, _no_hooks, _is_dtype, a.empty_or_none, needed=3)),
    "_rebuild_parameter": Plain(call=a.signature(_is_tensor, a.is_flag, _no_hooks)),
    "_rebuild_parameter_with_state": Plain(call=a.signature(_is_tensor, a.is_flag, _no_hooks, a.empty_or_none)),
    "_rebuild_qtensor": Plain(call=_tensor(_quantizer, a.is_flag, _no_hooks)),
    "_rebuild_meta_tensor_no_storage": Plain(call=a.signature(_is_dtype, a.is_sizes, a.is_sizes, a.is_flag)),
    "_rebuild_device_tensor_from_numpy": Plain(call=a.signature(_is_array, _is_dtype, _is_device, a.is_flag)),
    "_rebuild_device_tensor_from_cpu_tensor": Plain(call=a.signature(_is_tensor, _is_dtype, _is_device, a.is_flag)),
}
TORCH: Final[dict[tuple[str, str], Plain]] = {
    **{("torch._utils", name): plain for name, plain in _REBUILDERS.items()},
    **dict.fromkeys(STORAGES, DATA),
    **{("torch", name): DATA for name in (*_DTYPES, *_LAYOUTS)},
    ("torch", "Size"): Plain(call=a.signature(a.is_sizes)),
    ("torch", "device"): Plain(call=a.signature(a.is_text, a.is_int, needed=1)),
    ("torch.serialization", "_get_layout"): Plain(call=a.signature(a.is_text)),
    # It is torch.load on the bytes, which are a file of their own.
    ("torch.storage", "_load_from_bytes"): Plain(call=a.signature(a.is_bytes), nested=True),
}
