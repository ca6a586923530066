"""Generated safetensors files: read as written and as the reference reader reads them; damaged ones never surprise."""

from __future__ import annotations

import json
import struct
from typing import Any

import safetensors
from hypothesis import given
from hypothesis import strategies as st

from modelcar.checkpoint import Header
from modelcar.checkpoint.formats.safetensors import DTYPE_BITS, read_safetensors
from modelcar.errors import MalformedFile
from tests.support.examples import examples
from tests.support.headers import check_refusal, frugal, read_bytes

NAMES = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda name: name != "__metadata__")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
DTYPES = st.sampled_from(sorted(DTYPE_BITS))
SHAPES = st.lists(st.integers(0, 5), max_size=4)
STYLES: list[dict[str, Any]] = [{"separators": (",", ":")}, {"indent": 1}, {}]

Described = tuple[bytes, dict[str, tuple[str, tuple[int, ...], int, int]], dict[str, str]]


@st.composite
def files(draw: st.DrawFn) -> Described:
    """A valid file, its tensors (dtype, shape, begin, end in the data) and its metadata."""
    header: dict[str, Any] = {}
    tensors = {}
    end = 0
    for name in draw(st.lists(NAMES, unique=True, max_size=6)):
        dtype, shape = draw(DTYPES), draw(SHAPES)
        bits = DTYPE_BITS[dtype]
        for n in shape:
            bits *= n
        if bits % 8:
            shape, bits = [*shape, 4], bits * 4
        begin, end = end, end + bits // 8
        tensors[name] = (dtype, tuple(shape), begin, end)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    metadata = draw(st.dictionaries(TEXTS, TEXTS, max_size=3))
    if metadata:
        header["__metadata__"] = metadata
    shuffled = dict(draw(st.permutations(list(header.items()))))
    style = draw(st.sampled_from(STYLES))
    text = json.dumps(shuffled, ensure_ascii=draw(st.booleans()), **style).encode()
    text += b" " * draw(st.integers(0, 8))
    return struct.pack("<Q", len(text)) + text + bytes(end), tensors, metadata


def read(content: bytes) -> Header:
    return read_bytes(read_safetensors, content)


def reference_accepts(content: bytes) -> bool:
    try:
        safetensors.deserialize(content)  # type: ignore[no-untyped-call, unused-ignore]  # without types in some versions
    except safetensors.SafetensorError:
        return False
    return True


@given(files())
def test_read_as_written(described: Described) -> None:
    content, tensors, metadata = described
    header = read(content)
    assert dict(header.metadata) == metadata
    assert header.raw == content[: header.size]
    assert {
        t.name: (t.dtype, t.shape, t.offset - header.size, t.offset + t.size - header.size) for t in header.tensors
    } == tensors


@given(files())
def test_the_reference_reader_agrees(described: Described) -> None:
    content, _, _ = described
    listed = safetensors.deserialize(content)  # type: ignore[no-untyped-call, unused-ignore]  # without types in some versions
    reference = {name: (str(info["dtype"]), tuple(info["shape"])) for name, info in listed}
    assert {t.name: (t.dtype, t.shape) for t in read(content).tensors} == reference


@examples(300)
@given(files(), st.data())
def test_damage_is_refused_or_harmless(described: Described, data: st.DataObject) -> None:
    content = bytearray(described[0])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        kind = data.draw(st.sampled_from(["cut", "change", "insert", "remove"]))
        if kind == "cut":
            del content[at:]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        elif kind == "remove":
            del content[at : at + 2]
        elif at < len(content):
            content[at] = data.draw(st.integers(0, 255))
    try:
        with frugal():
            header = read(bytes(content))
    except MalformedFile as refused:
        check_refusal(refused)
        return
    assert reference_accepts(bytes(content)), "whatever we accept, the reference reader accepts"
    assert sum(t.size for t in header.tensors) + header.size == len(content)


@given(st.binary(max_size=200))
def test_noise(content: bytes) -> None:
    try:
        read(content)
    except MalformedFile:
        return
    assert reference_accepts(content)
