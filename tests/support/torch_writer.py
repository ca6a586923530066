"""An independent writer of checkpoints as torch.save lays them out, in both formats; it can lie about anything."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.zips import Member, make_zip

__all__ = ["KINDS", "Ordered", "Raw", "Storage", "Tensor", "legacy", "pickle_of", "zipped"]

# class of the storage -> (bytes of an element, what safetensors calls them)
KINDS = {
    "DoubleStorage": (8, "F64"),
    "FloatStorage": (4, "F32"),
    "HalfStorage": (2, "F16"),
    "BFloat16Storage": (2, "BF16"),
    "LongStorage": (8, "I64"),
    "IntStorage": (4, "I32"),
    "ShortStorage": (2, "I16"),
    "CharStorage": (1, "I8"),
    "ByteStorage": (1, "U8"),
    "BoolStorage": (1, "BOOL"),
    "ComplexFloatStorage": (8, "C64"),
}
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What a persistent id says of a storage, and its bytes; `elements` follow from those unless said otherwise."""

    key: str
    data: bytes
    kind: str = "FloatStorage"
    elements: int | None = None
    module: str = "torch"

    @property
    def count(self) -> int:
        return len(self.data) // KINDS.get(self.kind, (1, ""))[0] if self.elements is None else self.elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A call of one of torch's functions that rebuild tensors."""

    storage: Storage
    shape: tuple[Any, ...]
    strides: tuple[Any, ...] | None = None
    offset: Any = 0
    function: str = "_rebuild_tensor_v2"
    dtype: str | None = None
    parameter: bool = False


@dataclass(frozen=True, slots=True)
class Ordered:
    """An OrderedDict, filled as Python 3 or, from a list of pairs, as Python 2 does it."""

    items: tuple[tuple[Any, Any], ...]
    from_pairs: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Opcodes as they are."""

    opcodes: bytes = field(repr=False)


def pickle_of(value: Any) -> bytes:
    """A stream of protocol 2."""
    return b"\x80\x02" + _opcodes(value) + b"."


def zipped(value: Any, storages: Mapping[str, bytes], *, root: str = "archive", **notes: bytes) -> bytes:
    """A checkpoint as torch writes it from 1.6 on; `notes` are further members."""
    files = {"data.pkl": pickle_of(value), "version": b"3\n", **notes}
    files |= {f"data/{key}": data for key, data in storages.items()}
    return make_zip([Member(name=f"{root}/{name}".encode(), data=data) for name, data in files.items()])


def legacy(value: Any, storages: Mapping[str, tuple[int, bytes]], *, little_endian: bool = True) -> bytes:
    """A checkpoint as torch wrote it before; a storage is (elements, bytes)."""
    facts = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"\x80\x02" + _MAGIC + b"." + pickle_of(1001) + pickle_of(facts) + pickle_of(value)
    behind = b"".join(struct.pack("<q", count) + data for count, data in storages.values())
    return head + pickle_of(list(storages)) + behind


def _opcodes(value: Any) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return _int(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(encoded)) + encoded
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"]" + _filled(b"".join(map(_opcodes, value)), b"e")
    if isinstance(value, dict):
        return b"}" + _filled(b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items()), b"u")
    if isinstance(value, Ordered):
        return _ordered(value)
    return value.opcodes if isinstance(value, Raw) else _tensor(value)


def _int(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def _ordered(value: Ordered) -> bytes:
    made = b"ccollections\nOrderedDict\n"
    if value.from_pairs:
        return made + b"(" + _opcodes([list(pair) for pair in value.items]) + b"tR"
    return made + b")R" + _filled(b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items), b"u")


def _filled(items: bytes, opcode: bytes) -> bytes:
    """As pickle.py puts items into a container: not at all if there are none."""
    return b"(" + items + opcode if items else b""


def _tensor(tensor: Tensor) -> bytes:
    storage = tensor.storage
    kind = Raw(f"c{storage.module}\n{storage.kind}\n".encode())
    persistent = Raw(_opcodes(("storage", kind, storage.key, "cpu", storage.count)) + b"Q")
    strides = _contiguous(tensor.shape) if tensor.strides is None else tensor.strides
    arguments: list[Any] = [persistent, tensor.offset, tensor.shape, strides]
    if tensor.function != "_rebuild_tensor":
        arguments += [False, Ordered(())]
    if tensor.dtype is not None:
        arguments.append(Raw(f"ctorch\n{tensor.dtype}\n".encode()))
    made = f"ctorch._utils\n{tensor.function}\n".encode() + _opcodes(tuple(arguments)) + b"R"
    if tensor.parameter:
        return b"ctorch._utils\n_rebuild_parameter\n(" + made + b"\x88" + _opcodes(Ordered(())) + b"tR"
    return made


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
