"""GGUF headers, versions 2 and 3.

```
"GGUF" ‖ u32 version ‖ u64 tensors ‖ u64 key-value pairs
pairs:   string key ‖ u32 type ‖ value
tensors: string name ‖ u32 n ‖ n u64 dimensions, innermost first ‖ u32 ggml type ‖ u64 offset from the data's start
data:    from the next multiple of `general.alignment` (default 32)
```

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Gaps between tensors and bytes after the last one are
not refused: they cannot change what a reader sees, and the scanner reports them.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from modelcar.checkpoint.formats.ggml import GGML_TYPES
from modelcar.checkpoint.formats.gguf_values import DAMAGED, GgufValue, GgufValues
from modelcar.checkpoint.formats.header import (
    MAX_DIMENSIONS,
    MAX_METADATA_ENTRIES,
    MAX_RAW,
    MAX_TENSORS,
    Header,
    Tensor,
)
from modelcar.checkpoint.formats.reader import malformed, printable, read_exactly

if TYPE_CHECKING:
    from modelcar.files import ReadAt

__all__ = ["MAGIC", "read_gguf"]

MAGIC = b"GGUF"

_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 2**20
_LEAST_PAIR = 8 + 4 + 1  # bytes: an empty key, a type, a one-byte value
_LEAST_TENSOR = 8 + 4 + 4 + 8  # bytes: an empty name, no dimensions, a type, an offset
_U64_MAX = 2**64 - 1


def read_gguf(read_at: ReadAt, size: int, path: str) -> Header:
    """The header of a GGUF file of `size` bytes; `path` is for messages.

    Raises:
        MalformedFile: anything that the format does not allow, with the key or tensor at fault.
    """
    values = GgufValues(read_at, size, path)
    if values.take(4) != MAGIC:
        values.fail("does not begin with 'GGUF'")
    _check_version(values)
    tensor_count = values.count("tensors", _LEAST_TENSOR, MAX_TENSORS)
    pair_count = values.count("key-value pairs", _LEAST_PAIR, MAX_METADATA_ENTRIES)
    metadata = _read_pairs(values, pair_count)
    alignment = _alignment(values, metadata)
    tensors = _read_tensors(values, tensor_count, alignment)
    start = -(-values.position // alignment) * alignment
    if not tensors:
        start = min(start, size)
    placed = _place(tensors, start, size, path)
    return Header(
        format="gguf",
        size=start,
        raw=read_exactly(read_at, 0, start, path) if start <= MAX_RAW else None,
        tensors=placed,
        metadata=metadata,
        padding=start - values.position,
    )


def _check_version(values: GgufValues) -> None:
    version = values.u32()
    if version & 0xFFFF == 0:
        values.fail("is a big-endian GGUF file", hint="convert it with gguf_convert_endian.py of llama.cpp")
    if version == 1:
        values.fail("is a GGUF file of version 1, which nothing reads any more", hint="convert the model to GGUF anew")
    if version not in (2, 3):
        values.fail(f"is a GGUF file of version {version}; 2 and 3 are known", hint="a newer modelcar may know it")


def _read_pairs(values: GgufValues, count: int) -> dict[str, GgufValue]:
    metadata: dict[str, GgufValue] = {}
    for _ in range(count):
        key = values.name("key")
        if key in metadata:
            values.fail(f"has the key {printable(key)} twice")
        metadata[key] = values.value()
    return metadata


def _alignment(values: GgufValues, metadata: dict[str, GgufValue]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        values.fail(
            f"has the alignment {printable(str(alignment))}, which is not a power of two up to {_MAX_ALIGNMENT}"
        )
    return alignment


def _read_tensors(values: GgufValues, count: int, alignment: int) -> list[Tensor]:
    """Tensors as listed, their offsets still counted from the start of the data."""
    tensors: dict[str, Tensor] = {}
    for _ in range(count):
        name = values.name("tensor name")
        if name in tensors:
            values.fail(f"lists tensor {printable(name)} twice")
        tensors[name] = _read_tensor(values, name)
        if tensors[name].offset % alignment:
            values.fail(f"places tensor {printable(name)} at {tensors[name].offset}, not a multiple of {alignment}")
    return list(tensors.values())


def _read_tensor(values: GgufValues, name: str) -> Tensor:
    rank = values.u32()
    if rank > MAX_DIMENSIONS:
        values.fail(f"gives tensor {printable(name)} {rank} dimensions")
    dimensions = values.u64s(rank)
    kind, offset = values.u32(), values.u64()
    if kind not in GGML_TYPES:
        values.fail(f"gives tensor {printable(name)} the unknown type {kind}", hint="a newer modelcar may know it")
    dtype, block, block_size = GGML_TYPES[kind]
    elements = 1
    for dimension in dimensions:
        elements *= dimension
        if elements > _U64_MAX:
            values.fail(f"gives tensor {printable(name)} an impossibly large shape")
    if (dimensions[0] if dimensions else 1) % block:
        values.fail(f"gives tensor {printable(name)} rows that are no multiple of {block}, the block size of {dtype}")
    return Tensor(name=name, dtype=dtype, shape=dimensions[::-1], offset=offset, size=elements // block * block_size)


def _place(tensors: list[Tensor], start: int, size: int, path: str) -> tuple[Tensor, ...]:
    """`tensors` in file order with offsets counted from the file's start; `start` is where the data begins."""
    end = 0
    placed = []
    for tensor in sorted(tensors, key=attrgetter("offset", "size")):
        if tensor.offset < end:
            raise malformed(path, f"tensor {printable(tensor.name)} overlaps the one before it", hint=DAMAGED)
        end = tensor.offset + tensor.size
        if start + end > size:
            missing = start + end - size
            raise malformed(path, f"is cut short: tensor {printable(tensor.name)} lacks {missing} bytes", hint=DAMAGED)
        placed.append(
            Tensor(
                name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, offset=start + tensor.offset, size=tensor.size
            )
        )
    return tuple(placed)
