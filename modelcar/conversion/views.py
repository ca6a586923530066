"""The tensors that a pickle describes: which elements of which storage, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

from modelcar.checkpoint.formats.header import MAX_DIMENSIONS
from modelcar.checkpoint.formats.safetensors import DTYPE_BITS
from modelcar.conversion.dtypes import TORCH_DTYPES, storage_dtype
from modelcar.scanning.formats.pickles.values import Global, Instance, PersistentId, Value, constant, items_of
from modelcar.scanning.formats.pickles.vetted_torch import Storage, storage_of

__all__ = ["Unconvertible", "View", "view_of"]

_PARAMETERS: Final = frozenset({"_rebuild_parameter", "_rebuild_parameter_with_state"})
_DENSE: Final = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"})
_DTYPE_ARGUMENT: Final = 6  # of _rebuild_tensor_v3
_LARGEST: Final = (1 << 64) - 1  # bits; readers of safetensors multiply dimensions one by one, empty ones or not


class Unconvertible(Exception):
    """What is no tensor that safetensors could hold; `str(e)` continues the sentence that begins with its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A tensor over a storage.

    Attributes:
        storage: its key.
        dtype: in the word of safetensors.
        shape: as safetensors says it.
        start: bytes from the beginning of the storage to the first element.
        item: bytes of an element.
        dims: (elements, distance in elements) of each dimension, outermost first, those in one piece merged;
            empty if all elements lie behind each other.
        size: bytes, all elements behind each other.
    """

    storage: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    item: int
    dims: tuple[tuple[int, int], ...]
    size: int


def view_of(value: Value) -> View | None:
    """The tensor that `value` is; `None` if it is none.

    Raises:
        Unconvertible: it is one that safetensors cannot hold, or it contradicts its storage.
    """
    name = _rebuilder(value)
    while name in _PARAMETERS and isinstance(value, Instance) and value.args:
        value = value.args[0]
        name = _rebuilder(value)
    if name is None or not isinstance(value, Instance):
        return None
    if name == "_rebuild_qtensor":
        raise Unconvertible("is quantised (torch._utils._rebuild_qtensor), which safetensors cannot hold")
    if name not in _DENSE or value.args is None:
        raise Unconvertible(f"is made by torch._utils.{name}, which is not converted")
    return _dense(value.args)


def _rebuilder(value: Value) -> str | None:
    if isinstance(value, Instance) and isinstance(value.of, Global):
        module, name = value.of.key
        if module == "torch._utils" and name.startswith("_rebuild_"):
            return name
    return None


def _dense(args: tuple[Value, ...]) -> View:
    if len(args) < 4:
        raise Unconvertible("is rebuilt from too few arguments")
    storage, kind = _storage(args[0])
    dtype, item = _dtype(kind, args)
    (offset,), shape, strides = _sizes((args[1],)), _sizes(items_of(args[2])), _sizes(items_of(args[3]))
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise Unconvertible("has a shape and strides that do not fit each other")
    if prod(max(n, 1) for n in shape) * item * 16 > _LARGEST:  # 16: where two numbers lie in a byte
        raise Unconvertible("has an impossibly large shape")
    size = prod(shape) * item
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size and (last + 1) * item > storage.size:
        raise Unconvertible(f"reaches to byte {(last + 1) * item} of a storage of {storage.size}")
    packed = dtype == "F4" and shape  # two numbers a byte, of which torch counts one
    return View(
        storage=storage.key,
        dtype=dtype,
        shape=(*shape[:-1], shape[-1] * 2) if packed else shape,
        start=offset * item if size else 0,
        item=item,
        dims=_merged(shape, strides) if size else (),
        size=size,
    )


def _storage(value: Value) -> tuple[Storage, str]:
    """The storage, and the class of it."""
    said = items_of(value.key) if isinstance(value, PersistentId) else None
    storage = storage_of(said)
    if storage is None or said is None:
        raise Unconvertible("lies in something else than a storage of this file")
    return storage, str(said[1]).rpartition(".")[2]


def _dtype(storage: str, args: tuple[Value, ...]) -> tuple[str, int]:
    """The word of safetensors for the elements, and their bytes."""
    name = storage_dtype(storage)
    if len(args) > _DTYPE_ARGUMENT and isinstance(args[_DTYPE_ARGUMENT], Global):
        name = str(args[_DTYPE_ARGUMENT]).rpartition(".")[2]
    if name is None:
        raise Unconvertible(f"has elements of an unknown type, in a torch.{storage}")
    dtype = TORCH_DTYPES.get(name)
    if dtype is None:
        raise Unconvertible(f"is {name}, which safetensors cannot hold")
    return dtype, max(1, DTYPE_BITS[dtype] // 8)


def _sizes(values: object) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)):
        raise Unconvertible("has a shape that is no tuple of numbers")
    numbers = tuple(constant(value) for value in values)
    sizes = tuple(number for number in numbers if type(number) is int and number >= 0)
    if len(sizes) < len(numbers):
        raise Unconvertible("has a shape, stride or offset that is no size")
    return sizes


def _merged(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Dimensions of one element left out, neighbours in one piece made one; nothing if all is one piece."""
    dims: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == size * stride:
            dims[-1] = (dims[-1][0] * size, stride)
        else:
            dims.append((size, stride))
    return () if len(dims) < 2 and all(stride == 1 for _, stride in dims) else tuple(dims)
