"""ONNX, vocabularies, pictures and code: damage is never clean in silence, and nothing fails a scan."""

from __future__ import annotations

import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.protobufs import message
from tests.support.scanning import rules_found

NAMES = ["m.onnx", "tokenizer.model", "a.png", "a.jpg", "a.gif", "a.webp", "a.svg", "a.py", "a.ipynb", "a.sh", "x.so"]
BEGINNINGS = [
    b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x20\0\0\0WEBPVP8 ", b"<svg>", b"MZ",
    b"\x08\x08\x12\x01x\x3a", b"\x0a\x08\x0a\x01a\x15", b"import os\n", b"#!/bin/sh\n",
    b'{"cells": [{"cell_type": "code", "source": "',
]  # fmt: skip


@examples(600)
@given(st.sampled_from(NAMES), st.sampled_from(BEGINNINGS), st.binary(max_size=200))
def test_noise(name: str, beginning: bytes, data: bytes) -> None:
    assert "scan.failed" not in rules_found(name, beginning + data)


small = st.integers(0, 2**64 - 1) | st.binary(max_size=20) | st.text(st.characters(codec="utf-8"), max_size=8)
tensors = st.lists(st.tuples(st.integers(1, 16), small), max_size=4).map(lambda fields: message(*fields))
nodes = st.lists(st.tuples(st.integers(1, 10), small | tensors), max_size=4).map(lambda fields: message(*fields))
graphs = st.lists(st.tuples(st.integers(1, 16), small | tensors | nodes), max_size=5).map(
    lambda fields: message(*fields)
)


@examples(600)
@given(st.lists(st.tuples(st.integers(1, 26), small | graphs), max_size=6))
def test_messages_of_any_shape(fields: list[tuple[int, int | bytes | str]]) -> None:
    for name in ("m.onnx", "tokenizer.model"):
        assert "scan.failed" not in rules_found(name, message(*fields))


def ordinary_onnx() -> bytes:
    tensor = message((1, 2), (2, 1), (8, "w"), (9, bytes(8)))
    graph = message((1, message((1, "x"), (2, "y"), (4, "Relu"))), (2, "g"), (5, tensor))
    return message((1, 8), (2, "test"), (7, graph), (8, message((2, 17))))


def ordinary_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@examples(400)
@given(st.data())
def test_bytes_that_are_added_to_a_png_are_noticed(data: st.DataObject) -> None:
    whole = ordinary_png()
    at = data.draw(st.integers(0, len(whole)))
    more = data.draw(st.binary(min_size=1, max_size=30))
    assert rules_found("a.png", whole[:at] + more + whole[at:])


@examples(400)
@given(st.binary(min_size=1, max_size=30))
def test_what_is_appended_to_a_model_is_a_known_field_or_noticed(more: bytes) -> None:
    """Fields that the format knows may be appended: to every reader they are part of the model."""
    data = ordinary_onnx() + more
    if not rules_found("m.onnx", data):
        tags, position = [], len(data) - len(more)
        while position < len(data):
            tags.append(data[position] >> 3)
            size = {0: 1, 1: 8, 5: 4}.get(data[position] & 7, 1 + data[position + 1] if position + 1 < len(data) else 0)
            while data[position] & 7 == 0 and data[position + size] & 0x80:
                size += 1
            position += 1 + size
        assert set(tags) <= {1, 2, 3, 4, 5, 6, 7, 8, 14}
