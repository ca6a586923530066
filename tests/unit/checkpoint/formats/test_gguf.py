from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import Header
from modelcar.checkpoint.formats.ggml import FILE_TYPES, GGML_TYPES
from modelcar.checkpoint.formats.gguf import read_gguf
from modelcar.checkpoint.formats.gguf_values import LongArray
from modelcar.errors import MalformedFile
from modelcar.files import reading
from tests.support.headers import frugal, read_bytes, refusal
from tests.support.weights import gguf_bytes, gguf_string


def read(content: bytes) -> Header:
    return read_bytes(read_gguf, content)


def refused(content: bytes) -> str:
    return refusal(read_gguf, content)


def test_header() -> None:
    content = gguf_bytes(
        {"general.architecture": ("string", "llama"), "general.alignment": ("uint32", 64)},
        {"w": (12, (256, 2), 288), "b": (0, (3,), 12)},
        alignment=64,
    )
    header = read(content)
    assert header.format == "gguf"
    assert header.size % 64 == 0
    assert header.raw == content[: header.size]
    w, b = header.tensors
    assert (w.name, w.dtype, w.shape, w.offset, w.size) == ("w", "Q4_K", (2, 256), header.size, 288)
    assert (b.name, b.dtype, b.shape, b.offset, b.size) == ("b", "F32", (3,), header.size + 320, 12)
    assert header.metadata == {"general.architecture": "llama", "general.alignment": 64}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 255), ("int8", -1), ("uint16", 65535), ("int16", -2), ("uint32", 2**32 - 1), ("int32", -3),
        ("float32", 0.5), ("bool", True), ("bool", False), ("uint64", 2**64 - 1), ("int64", -(2**63)), ("float64", 0.1),
        ("string", "grüß"), ("string", ""),
        ("[int32]", (1, -2)), ("[string]", ("a", "")), ("[bool]", (True, False)), ("[float64]", ()),
    ],
)  # fmt: skip
def test_values_come_back(kind: str, value: Any) -> None:
    read_back = read(gguf_bytes({"k": (kind, value)})).metadata["k"]
    assert read_back == value
    assert type(read_back) is type(value)


def test_long_and_nested_arrays_are_passed_over() -> None:
    header = read(
        gguf_bytes(
            {
                "tokens": ("[string]", ["tok"] * 300),
                "scores": ("[float32]", [0.0] * 300),
                "nested": ("[[int32]]", [[1, 2], [], [3]]),
                "after": ("uint8", 7),
            }
        ),
    )
    assert header.metadata == {
        "tokens": LongArray("string", 300),
        "scores": LongArray("float32", 300),
        "nested": LongArray("array", 3),
        "after": 7,
    }


def test_text_that_is_not_utf8_is_made_so() -> None:
    content = gguf_bytes({"k": ("string", "abc")}).replace(b"abc", b"a\xffc")
    assert read(content).metadata["k"] == "a�c"


def test_version_2_is_read_alike() -> None:
    assert read(gguf_bytes(tensors={"t": (0, (4,), 16)}, version=2)).tensors[0].shape == (4,)


@pytest.mark.parametrize("number", sorted(GGML_TYPES))
def test_every_tensor_type(number: int) -> None:
    name, block, size = GGML_TYPES[number]
    tensor = read(gguf_bytes(tensors={"t": (number, (block * 2, 3), size * 6)})).tensors[0]
    assert (tensor.dtype, tensor.size) == (name, size * 6)


def test_tables_agree_with_each_other() -> None:
    assert len({name for name, _, _ in GGML_TYPES.values()}) == len(GGML_TYPES)
    assert len(set(FILE_TYPES.values())) == len(FILE_TYPES)


def test_last_tensor_needs_no_padding_and_gaps_are_left_to_the_scanner() -> None:
    content = gguf_bytes(tensors={"t": (0, (1,), 4)})
    assert read(content[: -(32 - 4)]).tensors[0].size == 4
    assert read(content + b"tail").tensors[0].size == 4


def test_a_vocabulary_alone() -> None:
    content = gguf_bytes({"k": ("uint8", 1)})
    assert read(content).size == len(content)


def counts(tensors: int, pairs: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs)


def one_tensor(
    name: bytes = b"t", dims: tuple[int, ...] = (1,), kind: int = 0, offset: int = 0, count: int = 1
) -> bytes:
    info = gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
    head = counts(count, 0) + info * count
    return head + bytes(-len(head) % 32) + bytes(64)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cut short"),
        (b"GGU", "cut short"),
        (b"GGML" + bytes(40), "does not begin with 'GGUF'"),
        (b"GGUF\0\0\0\3" + bytes(40), "big-endian"),
        (b"GGUF\1\0\0\0" + bytes(40), "version 1"),
        (b"GGUF\4\0\0\0" + bytes(40), "version 4"),
        (counts(2**63, 0), "announces 9223372036854775808 tensors"),
        (counts(0, 2**40), "announces 1099511627776 key-value pairs"),
        (counts(1, 0), "announces 1 tensors"),
        (counts(0, 1) + struct.pack("<Q", 2**16) + bytes(99), "key of 65536 bytes"),
        (counts(0, 1) + struct.pack("<Q", 99) + bytes(50), "cut short"),
        (counts(0, 1) + gguf_string(b"\xff") + bytes(50), "key that is not UTF-8"),
        (counts(0, 1) + gguf_string("k") + struct.pack("<I", 13) + bytes(50), "value type 13"),
        (counts(0, 1) + gguf_string("k") + struct.pack("<IB", 7, 2) + bytes(50), "boolean with the value 2"),
        (counts(0, 1) + gguf_string("k") + struct.pack("<IQ", 8, 2**62) + bytes(50), "cut short"),
        (
            counts(0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 4, 2**62) + bytes(50),
            "array of 4611686018427387904",
        ),
        (
            counts(0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 8, 2**62) + bytes(50),
            "array of 4611686018427387904",
        ),
        (
            counts(0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 9, 2**62) + bytes(50),
            "array of 4611686018427387904",
        ),
        (counts(0, 1) + gguf_string("k") + struct.pack("<IIQQ", 9, 8, 300, 2**63) + bytes(9000), "cut short"),
        (counts(0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 77, 1) + bytes(50), "array element type 77"),
        (counts(0, 1) + gguf_string("k") + b"\x09\0\0\0" + struct.pack("<IQ", 9, 1) * 9 + bytes(50), "nests arrays"),
        (counts(0, 2) + (gguf_string("k") + struct.pack("<IB", 0, 1)) * 2, "the key 'k' twice"),
        (gguf_bytes({"general.alignment": ("uint32", 24)}), "alignment '24'"),
        (gguf_bytes({"general.alignment": ("uint32", 0)}), "alignment '0'"),
        (gguf_bytes({"general.alignment": ("string", "32")}), "alignment '32'"),
        (one_tensor(count=2), "lists tensor 't' twice"),
        (one_tensor(dims=(1,) * 65), "65 dimensions"),
        (one_tensor(kind=4), "unknown type 4"),
        (one_tensor(dims=(2**40, 2**40)), "impossibly large"),
        (one_tensor(dims=(33,), kind=2), "no multiple of 32, the block size of Q4_0"),
        (one_tensor(offset=4), "not a multiple of 32"),
        (one_tensor(dims=(17,)), "tensor 't' lacks 4 bytes"),
        (one_tensor(offset=2**63), "lacks"),
    ],
)
def test_file_that_breaks_the_rules(content: bytes, said: str) -> None:
    assert said in refused(content)


def test_overlapping_tensors() -> None:
    info = b"".join(gguf_string(n) + struct.pack("<IQIQ", 1, 16, 0, o) for n, o in (("a", 0), ("b", 32)))
    head = counts(2, 0) + info
    assert "'b' overlaps" in refused(head + bytes(-len(head) % 32) + bytes(128))


def test_header_beyond_the_limit(tmp_path: Path) -> None:
    place = tmp_path / "big.gguf"
    with place.open("wb") as out:
        out.write(counts(0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 0, 2**31))
        out.truncate(2**32)
    fd = os.open(place, os.O_RDONLY)
    try:
        with pytest.raises(MalformedFile, match="header of more than 100000000 bytes"):
            read_gguf(reading(fd, place), 2**32, "big.gguf")
    finally:
        os.close(fd)


def test_large_vocabulary_is_passed_over() -> None:
    """Its texts would take several times the memory of its bytes."""
    content = gguf_bytes({"tokens": ("[string]", [f"token{n}" for n in range(65_536)])})
    with frugal(4 * len(content)):
        assert read(content).metadata["tokens"] == LongArray("string", 65_536)
