"""safetensors headers, read strictly.

```
u64 little-endian N ‖ N bytes of JSON, '{' first, padded with spaces ‖ tensor data, gapless to the end of the file
{"__metadata__": {text: text}, NAME: {"dtype": D, "shape": [n, …], "data_offsets": [begin, end]}, …}
```

Source: https://github.com/huggingface/safetensors (README "Format" and `tensor.rs`, 0.8). The reference reader takes
some files that its own documentation forbids (leading blanks, duplicate names, extra keys); two readers may see two
different models in such a file, so they are refused here. Alignment is not part of the format, and many real files
have misaligned tensors: that is left to the scanner.

The JSON has a fixed shape, so it is matched token by token instead of being built as a tree: memory stays proportional
to the tensors found, however deep, long or numerous the header pretends things to be.
"""

from __future__ import annotations

import re
import struct
from operator import attrgetter
from typing import TYPE_CHECKING, NoReturn

from modelcar.checkpoint.formats.cursor import JsonCursor, JsonError
from modelcar.checkpoint.formats.header import (
    MAX_DIMENSIONS,
    MAX_HEADER,
    MAX_METADATA_ENTRIES,
    MAX_RAW,
    MAX_TENSORS,
    Header,
    Tensor,
)
from modelcar.checkpoint.formats.reader import malformed, printable, read_exactly

if TYPE_CHECKING:
    from modelcar.files import ReadAt

__all__ = ["DTYPE_BITS", "read_safetensors"]

DTYPE_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip

_U64_MAX = 2**64 - 1
# how the reference writer writes a tensor; one match instead of twenty
_INTEGER = rb"(?:0|[1-9][0-9]{0,18}+)"
_USUAL = re.compile(
    rb'\{"dtype":"([A-Z0-9_]++)","shape":\[(%b(?:,%b){0,%d})\],"data_offsets":\[(%b),(%b)\]\}'
    % (_INTEGER, _INTEGER, MAX_DIMENSIONS - 1, _INTEGER, _INTEGER)
)
_DAMAGED = "download the file again; if it is as its author published it, ask them to save it anew"
_NEWER = "if it is a new one, a newer modelcar may know it"


def read_safetensors(read_at: ReadAt, size: int, path: str) -> Header:
    """The header of a safetensors file of `size` bytes; `path` is for messages.

    Raises:
        MalformedFile: anything that the format does not allow, with the tensor at fault.
    """
    if size < 8:
        raise malformed(path, f"is {size} bytes long; a safetensors file has at least 8", hint=_DAMAGED)
    (length,) = struct.unpack("<Q", read_exactly(read_at, 0, 8, path))
    if length > MAX_HEADER:
        raise malformed(path, f"claims a header of {length} bytes; the limit is {MAX_HEADER}", hint=_DAMAGED)
    if length > size - 8:
        raise malformed(
            path,
            f"claims a header of {length} bytes but has only {size - 8} after the length: it is cut short",
            hint=_DAMAGED,
        )
    text = read_exactly(read_at, 8, length, path)
    tensors, metadata = _HeaderParser(text, path).parse()
    _check_coverage(tensors, size - 8 - length, path)
    start = 8 + length
    return Header(
        format="safetensors",
        size=start,
        raw=struct.pack("<Q", length) + text if start <= MAX_RAW else None,
        tensors=tuple(
            Tensor(name=t.name, dtype=t.dtype, shape=t.shape, offset=t.offset + start, size=t.size) for t in tensors
        ),
        metadata=metadata,
    )


def _check_coverage(tensors: list[Tensor], data_size: int, path: str) -> None:
    """Tensor data must fill `[0, data_size)` without gap or overlap. Sorts `tensors` by where they lie."""
    tensors.sort(key=attrgetter("offset", "size"))
    end = 0
    for tensor in tensors:
        if tensor.offset != end:
            what = (
                "overlaps the one before it"
                if tensor.offset < end
                else f"leaves a gap of {tensor.offset - end} bytes before it"
            )
            raise malformed(path, f"tensor {printable(tensor.name)} {what}", hint=_DAMAGED)
        end += tensor.size
    if end > data_size:
        raise malformed(path, f"is cut short: {end - data_size} bytes of tensor data are missing", hint=_DAMAGED)
    if end < data_size:
        raise malformed(path, f"has {data_size - end} bytes after its last tensor", hint=_DAMAGED)


class _HeaderParser:
    """Reads the JSON of one header; `path` is for messages."""

    def __init__(self, text: bytes, path: str) -> None:
        self._text = text
        self._cursor = JsonCursor(text)
        self._path = path

    def parse(self) -> tuple[list[Tensor], dict[str, str]]:
        if not self._text.startswith(b"{"):
            self._fail("does not begin with '{'")
        metadata: dict[str, str] | None = None
        tensors: dict[str, Tensor] = {}
        where = "its header"
        try:
            for name in self._cursor.members():
                where = printable(name)
                if name == "__metadata__":
                    if metadata is not None:
                        self._fail("has '__metadata__' twice")
                    metadata = self._read_metadata()
                elif name in tensors:
                    self._fail(f"lists tensor {where} twice")
                else:
                    tensors[name] = self._read_tensor(name)
                    if len(tensors) > MAX_TENSORS:
                        self._fail(f"lists more than {MAX_TENSORS} tensors")
        except JsonError as e:
            self._fail(f"is not what the format asks for at {where}: {e}")
        if self._cursor.rest().strip(b" "):
            self._fail("has something other than spaces after its JSON")
        return list(tensors.values()), metadata or {}

    def _read_metadata(self) -> dict[str, str]:
        metadata: dict[str, str] = {}
        for key in self._cursor.members():
            if key in metadata:
                self._fail(f"has the metadata key {printable(key)} twice")
            metadata[key] = self._cursor.string()
            if len(metadata) > MAX_METADATA_ENTRIES:
                self._fail(f"has more than {MAX_METADATA_ENTRIES} metadata entries")
        return metadata

    def _read_tensor(self, name: str) -> Tensor:
        usual = self._cursor.take(_USUAL)
        if usual is not None:
            dtype_, shape_, begin, end = usual
            return self._checked(name, dtype_.decode(), tuple(map(int, shape_.split(b","))), (int(begin), int(end)))
        dtype: str | None = None
        shape: tuple[int, ...] | None = None
        offsets: tuple[int, ...] | None = None
        for key in self._cursor.members():
            if key == "dtype" and dtype is None:
                dtype = self._cursor.string()
            elif key == "shape" and shape is None:
                shape = self._cursor.integers(MAX_DIMENSIONS)
            elif key == "data_offsets" and offsets is None:
                offsets = self._cursor.integers(2)
            else:
                why = "twice" if key in ("dtype", "shape", "data_offsets") else "which the format does not know"
                self._fail(f"gives tensor {printable(name)} the key {printable(key)} {why}")
        if dtype is None or shape is None or offsets is None:
            self._fail(f"gives tensor {printable(name)} no dtype, shape or data_offsets")
        return self._checked(name, dtype, shape, offsets)

    def _checked(self, name: str, dtype: str, shape: tuple[int, ...], offsets: tuple[int, ...]) -> Tensor:
        """The tensor, its offset still relative to the data, once dtype, shape and offsets agree."""
        bits = DTYPE_BITS.get(dtype)
        if bits is None:
            self._fail(f"gives tensor {printable(name)} the unknown dtype {printable(dtype)}", hint=_NEWER)
        if len(offsets) != 2 or offsets[1] < offsets[0]:
            self._fail(f"gives tensor {printable(name)} data_offsets that are not a begin and an end")
        for dimension in shape:
            bits *= dimension
            if bits > _U64_MAX:
                self._fail(f"gives tensor {printable(name)} an impossibly large shape")
        span = offsets[1] - offsets[0]
        if bits != span * 8:
            self._fail(f"gives tensor {printable(name)} {span} bytes, but {dtype}{list(shape)} takes {bits / 8:.15g}")
        return Tensor(name=name, dtype=dtype, shape=shape, offset=offsets[0], size=span)

    def _fail(self, problem: str, *, hint: str = _DAMAGED) -> NoReturn:
        raise malformed(self._path, f"its header {problem}", hint=hint)
