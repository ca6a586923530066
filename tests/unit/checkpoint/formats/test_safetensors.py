from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelcar.checkpoint import Header, Tensor
from modelcar.checkpoint.formats.safetensors import DTYPE_BITS, read_safetensors
from modelcar.errors import MalformedFile
from modelcar.files import reading
from tests.support.headers import frugal, read_bytes, refusal
from tests.support.weights import raw_safetensors, safetensors_bytes, simple_safetensors


def read(content: bytes) -> Header:
    return read_bytes(read_safetensors, content)


def refused(content: bytes) -> str:
    return refusal(read_safetensors, content)


def test_header() -> None:
    content = safetensors_bytes(
        {"b": ("F32", (2, 3), bytes(24)), "a": ("BF16", (), bytes(2)), "none": ("I64", (0, 7), b"")},
        {"format": "pt"},
        pad=3,
    )
    header = read(content)
    start = len(content) - 26
    assert header.format == "safetensors"
    assert header.size == start
    assert header.raw == content[:start]
    assert header.metadata == {"format": "pt"}
    assert header.tensors == (
        Tensor(name="b", dtype="F32", shape=(2, 3), offset=start, size=24),
        Tensor(name="a", dtype="BF16", shape=(), offset=start + 24, size=2),
        Tensor(name="none", dtype="I64", shape=(0, 7), offset=start + 26, size=0),
    )


def test_tensors_come_in_file_order_whatever_the_header_says() -> None:
    header = {
        "z": {"data_offsets": [4, 8], "shape": [1], "dtype": "F32"},
        "y": {"shape": [4], "dtype": "U8", "data_offsets": [0, 4]},
    }
    content = raw_safetensors(json.dumps(header, indent=1).encode(), bytes(8))
    assert [tensor.name for tensor in read(content).tensors] == ["y", "z"]


def test_no_tensor_at_all() -> None:
    assert read(raw_safetensors(b"{}")).tensors == ()


@pytest.mark.parametrize("dtype", sorted(DTYPE_BITS))
def test_every_dtype(dtype: str) -> None:
    size = DTYPE_BITS[dtype] * 8 // 8
    assert read(safetensors_bytes({"t": (dtype, (8,), bytes(size))})).tensors[0].size == size


def test_sub_byte_tensor_must_end_on_a_byte() -> None:
    assert "takes 1.5" in refused(safetensors_bytes({"t": ("F4", (3,), bytes(2))}))


def test_misaligned_tensor_is_accepted() -> None:
    content = safetensors_bytes({"odd": ("U8", (1,), b"x"), "wide": ("F64", (1,), bytes(8))})
    first, second = read(content).tensors
    assert second.offset == first.offset + 1


def test_names_with_escapes_and_unicode() -> None:
    content = raw_safetensors(
        b'{"\\u00e9\\n\\"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
        b'"\xc3\xbc":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
    )
    assert {tensor.name for tensor in read(content).tensors} == {'é\n"', "ü"}


GOOD = b'{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b' {"a":' + GOOD + b"}", "does not begin with '{'"),
        (b"\xef\xbb\xbf{}", "does not begin with '{'"),
        (b"", "does not begin with '{'"),
        (b"[]", "does not begin with '{'"),
        (b'{"a":' + GOOD, "',' or '}' was expected at byte 52"),
        (b'{"a":' + GOOD + b"}\n", "other than spaces after its JSON"),
        (b'{"a":' + GOOD + b"}{}", "other than spaces after its JSON"),
        (b'{"a":' + GOOD + b"}\x00", "other than spaces after its JSON"),
        (b'{"a":' + GOOD + b',"a":' + GOOD + b"}", "lists tensor 'a' twice"),
        (b'{"a":' + GOOD + b',"\\u0061":' + GOOD + b"}", "lists tensor 'a' twice"),
        (b'{"a":' + GOOD + b",}", "a text was expected"),
        (b'{"a":null}', "at 'a': an object was expected"),
        (b'{"a":{"dtype":"U8","shape":[2]}}', "no dtype, shape or data_offsets"),
        (b'{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}', "the key 'dtype' twice"),
        (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":1}}', "the key 'x' which the format does not know"),
        (b'{"a":{"dtype":8,"shape":[2],"data_offsets":[0,2]}}', "a text was expected"),
        (b'{"a":{"dtype":"Q8","shape":[2],"data_offsets":[0,2]}}', "unknown dtype 'Q8'"),
        (b'{"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":[2e0],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":[02],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":["2"],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":2,"data_offsets":[0,2]}}', "an array was expected"),
        (b'{"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,2]}}', "non-negative 64-bit integer"),
        (b'{"a":{"dtype":"U8","shape":[9223372036854775808,4,0],"data_offsets":[0,2]}}', "impossibly large"),
        (b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}}', "2 bytes, but U8[3] takes 3"),
        (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}', "not a begin and an end"),
        (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[2]}}', "not a begin and an end"),
        (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2,2]}}', "at most 2 numbers"),
        (b'{"a":{"dtype":"U8","shape":[' + b"1," * 64 + b'2],"data_offsets":[0,2]}}', "at most 64 numbers"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', "tensor 'a' leaves a gap of 1 bytes before it"),
        (b'{"a":' + GOOD + b',"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', "tensor 'b' overlaps"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', "1 bytes after its last tensor"),
        (b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', "cut short: 7 bytes of tensor data are missing"),
        (b'{"__metadata__":{"a":1},"a":' + GOOD + b"}", "at '__metadata__': a text was expected"),
        (b'{"__metadata__":null,"a":' + GOOD + b"}", "an object was expected"),
        (b'{"__metadata__":{"a":"1","a":"2"},"a":' + GOOD + b"}", "metadata key 'a' twice"),
        (b'{"__metadata__":{},"__metadata__":{},"a":' + GOOD + b"}", "'__metadata__' twice"),
        (b'{"\\ud800":' + GOOD + b"}", "valid UTF-8"),
        (b'{"\xff":' + GOOD + b"}", "valid UTF-8"),
        (b'{"a\nb":' + GOOD + b"}", "a text was expected"),
        (b'{"\\x":' + GOOD + b"}", "a text was expected"),
        (b"{" + b'"a":[' * 200_000, "an object was expected"),
    ],
)
def test_header_that_breaks_the_rules(header: bytes, said: str) -> None:
    assert said in refused(raw_safetensors(header, b"xy"))


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_file_too_short_for_a_length(content: bytes) -> None:
    assert f"is {len(content)} bytes long" in refused(content)


@pytest.mark.parametrize("cut", [9, 20, -1])
def test_truncated_file(cut: int) -> None:
    assert "cut short" in refused(simple_safetensors("a", "b")[:cut])


def test_header_bomb_costs_no_memory(tmp_path: Path) -> None:
    place = tmp_path / "model.safetensors"
    with place.open("wb") as out:
        out.write(raw_safetensors(b"{", length=2**40))
        out.truncate(2**41)
    fd = os.open(place, os.O_RDONLY)
    try:
        with (
            frugal(100_000),
            pytest.raises(MalformedFile, match="header of 1099511627776 bytes; the limit is 100000000"),
        ):
            read_safetensors(reading(fd, place), 2**41, "m")
    finally:
        os.close(fd)


def test_name_cannot_forge_the_message() -> None:
    name = "x\\n\\u001b[31mok\\u202e" + "y" * 500
    message = refused(raw_safetensors(f'{{"{name}":null}}'.encode()))
    assert message.isprintable()
    assert len(message) < 300


def test_long_header_keeps_no_raw_bytes() -> None:
    content = raw_safetensors(b"{}" + b" " * (16 * 2**20))
    header = read(content)
    assert header.raw is None
    assert header.size == len(content)
