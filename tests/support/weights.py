"""safetensors and GGUF files written from their specifications, independently of the readers under test."""

from __future__ import annotations

import json
import struct
from typing import Any

__all__ = [
    "gguf_bytes",
    "gguf_string",
    "raw_safetensors",
    "safetensors_bytes",
    "simple_safetensors",
]

GGUF_FORMATS = {
    "uint8": (0, "B"), "int8": (1, "b"), "uint16": (2, "H"), "int16": (3, "h"), "uint32": (4, "I"), "int32": (5, "i"),
    "float32": (6, "f"), "bool": (7, "?"), "uint64": (10, "Q"), "int64": (11, "q"), "float64": (12, "d"),
}  # fmt: skip


def safetensors_bytes(
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]],
    metadata: dict[str, str] | None = None,
    *,
    pad: int = 0,
    align: int = 1,
) -> bytes:
    """A file of `tensors`: name -> (dtype, shape, data), laid out in that order.

    The header has `pad` spaces behind it, then as many as make its length a multiple of `align`.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode() + b" " * pad
    return raw_safetensors(text + b" " * (-len(text) % align), data)


def raw_safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of exactly this header text and data; `length` overrides the true header length."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def simple_safetensors(*names: str, dtype: str = "F32", shape: tuple[int, ...] = (2, 3)) -> bytes:
    """A file of F32 tensors, all of one shape."""
    width = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "F8_E4M3": 1, "I8": 1}[dtype]
    size = width
    for n in shape:
        size *= n
    return safetensors_bytes({name: (dtype, shape, bytes(size)) for name in names})


def gguf_string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind: str, value: Any) -> bytes:
    """Type and value. An array's kind is `[element kind]`, nested as deep as wanted."""
    if kind.startswith("["):
        return struct.pack("<I", 9) + _array_body(kind[1:-1], value)
    if kind == "string":
        return struct.pack("<I", 8) + gguf_string(value)
    number, letter = GGUF_FORMATS[kind]
    return struct.pack(f"<I{letter}", number, value)


def _array_body(kind: str, values: Any) -> bytes:
    number = 9 if kind.startswith("[") else 8 if kind == "string" else GGUF_FORMATS[kind][0]
    elements = (_array_body(kind[1:-1], v) if kind.startswith("[") else gguf_value(kind, v)[4:] for v in values)
    return struct.pack("<IQ", number, len(values)) + b"".join(elements)


def gguf_bytes(
    pairs: dict[str, tuple[str, Any]] | None = None,
    tensors: dict[str, tuple[int, tuple[int, ...], int]] | None = None,
    *,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """A file of `pairs`: key -> (kind, value), and `tensors`: name -> (ggml type, innermost-first dims, bytes)."""
    pairs, tensors = pairs or {}, tensors or {}
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, (kind, value) in pairs.items():
        out += gguf_string(key) + gguf_value(kind, value)
    offset = 0
    for name, (number, dims, size) in tensors.items():
        out += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, offset)
        offset += -(-size // alignment) * alignment
    out += bytes(-len(out) % alignment)
    return out + bytes(offset)
