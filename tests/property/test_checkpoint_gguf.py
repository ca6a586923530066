"""Generated GGUF files are read as written; damaged ones are refused or read, and never do anything else."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelcar.checkpoint import Header
from modelcar.checkpoint.formats.ggml import GGML_TYPES
from modelcar.checkpoint.formats.gguf import read_gguf
from modelcar.checkpoint.formats.gguf_values import LongArray
from modelcar.errors import MalformedFile
from tests.support.examples import examples
from tests.support.headers import check_refusal, frugal, read_bytes

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS: dict[str, tuple[int, str, st.SearchStrategy[Any]]] = {
    "uint8": (0, "B", st.integers(0, 2**8 - 1)),
    "int8": (1, "b", st.integers(-(2**7), 2**7 - 1)),
    "uint16": (2, "H", st.integers(0, 2**16 - 1)),
    "int16": (3, "h", st.integers(-(2**15), 2**15 - 1)),
    "uint32": (4, "I", st.integers(0, 2**32 - 1)),
    "int32": (5, "i", st.integers(-(2**31), 2**31 - 1)),
    "float32": (6, "f", st.floats(width=32, allow_nan=False)),
    "bool": (7, "?", st.booleans()),
    "uint64": (10, "Q", st.integers(0, 2**64 - 1)),
    "int64": (11, "q", st.integers(-(2**63), 2**63 - 1)),
    "float64": (12, "d", st.floats(allow_nan=False)),
}
Described = tuple[bytes, dict[str, Any], dict[str, tuple[str, tuple[int, ...], int, int]]]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


@st.composite
def values(draw: st.DrawFn) -> tuple[bytes, Any]:
    """A value with its type, and what reading it gives."""
    kind = draw(st.sampled_from([*SCALARS, "string", "scalars", "strings", "nested", "vocabulary"]))
    if kind == "string":
        value = draw(TEXTS)
        return struct.pack("<I", 8) + text(value), value
    if kind == "strings":
        strings = draw(st.lists(TEXTS, max_size=4))
        return struct.pack("<IIQ", 9, 8, len(strings)) + b"".join(map(text, strings)), tuple(strings)
    if kind == "vocabulary":
        count = draw(st.integers(257, 400))
        return struct.pack("<IIQ", 9, 8, count) + text(draw(TEXTS)) * count, LongArray("string", count)
    if kind == "nested":
        rows = draw(st.lists(st.lists(st.integers(0, 255), max_size=3), max_size=3))
        body = b"".join(struct.pack("<IQ", 0, len(row)) + bytes(row) for row in rows)
        return struct.pack("<IIQ", 9, 9, len(rows)) + body, LongArray("array", len(rows))
    number, letter, strategy = SCALARS[draw(st.sampled_from(sorted(SCALARS))) if kind == "scalars" else kind]
    if kind == "scalars":
        many = draw(st.lists(strategy, max_size=5))
        return struct.pack(f"<IIQ{len(many)}{letter}", 9, number, len(many), *many), tuple(many)
    value = draw(strategy)
    return struct.pack(f"<I{letter}", number, value), value


@st.composite
def files(draw: st.DrawFn) -> Described:
    """A valid file, its metadata and its tensors (type, row-major shape, begin, size)."""
    alignment = draw(st.sampled_from([1, 8, 32, 64]))
    keys = draw(st.lists(TEXTS.filter(lambda key: key != "general.alignment"), unique=True, max_size=4))
    pairs = {key: draw(values()) for key in keys}
    pairs["general.alignment"] = (struct.pack("<II", 4, alignment), alignment)
    names = draw(st.lists(TEXTS, unique=True, max_size=4))
    out = b"GGUF" + struct.pack("<IQQ", draw(st.sampled_from([2, 3])), len(names), len(pairs))
    out += b"".join(text(key) + value for key, (value, _) in pairs.items())
    tensors, end = {}, 0
    for name in names:
        number = draw(st.sampled_from(sorted(GGML_TYPES)))
        dtype, block, size = GGML_TYPES[number]
        dims = [block * draw(st.integers(0, 2)), *draw(st.lists(st.integers(0, 3), max_size=3))]
        count = 1
        for n in dims:
            count *= n
        begin = -(-end // alignment) * alignment
        end = begin + count // block * size
        tensors[name] = (dtype, tuple(reversed(dims)), begin, end - begin)
        out += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, begin)
    out += bytes(-len(out) % alignment)
    return out + bytes(end), {key: value for key, (_, value) in pairs.items()}, tensors


def read(content: bytes) -> Header:
    return read_bytes(read_gguf, content)


@given(files())
def test_read_as_written(described: Described) -> None:
    content, metadata, tensors = described
    header = read(content)
    assert dict(header.metadata) == metadata
    assert header.raw == content[: header.size]
    assert {t.name: (t.dtype, t.shape, t.offset - header.size, t.size) for t in header.tensors} == tensors


@examples(300)
@given(files(), st.data())
def test_damage_is_refused_or_harmless(described: Described, data: st.DataObject) -> None:
    content = bytearray(described[0])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        if data.draw(st.booleans()):
            content[at : at + 8] = data.draw(
                st.sampled_from([b"\xff" * 8, bytes(8), b"\xff\xff\xff\x7f", b"", b"\x09"])
            )
        else:
            del content[at : at + data.draw(st.integers(1, 9))]
    try:
        with frugal():
            header = read(bytes(content))
    except MalformedFile as refused:
        check_refusal(refused)
        return
    assert all(t.offset + t.size <= len(content) for t in header.tensors)


@given(st.binary(max_size=200))
def test_noise(noise: bytes) -> None:
    for content in (noise, b"GGUF\x03\0\0\0" + noise):
        try:
            read(content)
        except MalformedFile as refused:
            check_refusal(refused)
