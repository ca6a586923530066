"""The outline of a model index: what it keeps is what the parser finds, and hostile ones take no memory."""

from __future__ import annotations

import copy
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelcar.errors import InvalidContent, InvalidDocument
from modelcar.files import ReadAt
from modelcar.layers import jsonpull, outline
from modelcar.layers.index import INDEX_PATH, MEDIA_TYPE, ModelIndex
from modelcar.layers.outline import outline_index, outline_index_layer
from modelcar.oci import Digest
from tests.unit.layers.index_documents import BY_PARSER_ALONE, BY_SCHEMA, broken

DIGEST = str(Digest.of(b""))


def at(raw: bytes) -> ReadAt:
    return lambda offset, size: raw[offset : offset + size]


def outlined(raw: bytes) -> ModelIndex:
    return outline_index(at(b"before" + raw + b"after"), 6, len(raw))


def without_details(model: ModelIndex) -> ModelIndex:
    layers = [
        replace(layer, chunks=layer.chunks[:], files=tuple(replace(f, header=None, tensors=()) for f in layer.files))
        for layer in model.layers
    ]
    return replace(model, layers=tuple(layers), rest={})


@pytest.mark.parametrize("window", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"sort_keys": True}, {"ensure_ascii": False}])
def test_it_is_the_index_without_tensors_and_headers(
    index: ModelIndex, window: int, style: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonpull, "_WINDOW", window)
    document = json.loads(index.to_json()) | {"later": [{"a": '\\"}]'}, [[]], -1.5e3, None, "é\\"]}
    document["layers"][0]["later"] = {"deep": [1, {"x": "]"}]}
    found = outlined(json.dumps(document, **style).encode())
    assert without_details(found) == without_details(index)


def left_out(index: ModelIndex, lie: Any) -> bool:
    """Whether it lies about nothing but tensors and headers."""
    if not isinstance(lie.get("layers"), list) or not all(isinstance(layer, dict) for layer in lie["layers"]):
        return False
    files = [file for layer in lie["layers"] if isinstance(layer.get("files"), list) for file in layer["files"]]
    sizes = {file.pop("headerSize", None) for file in files}
    for file in files:
        file.pop("header", None)
        file.pop("tensors", None)
    truth = copy.deepcopy(json.loads(index.to_json()))
    for file in (file for layer in truth["layers"] for file in layer["files"]):
        for name in ("header", "headerSize", "tensors"):
            file.pop(name, None)
    return bool(lie == truth) and sizes <= {None, 79, 80, 81}


@pytest.mark.parametrize("edit", [*BY_SCHEMA, *BY_PARSER_ALONE])
def test_lies_are_refused_but_for_those_about_what_it_leaves_out(
    index: ModelIndex, edit: Callable[[Any], None]
) -> None:
    lie = broken(index, edit)
    raw = json.dumps(lie).encode()
    if left_out(index, lie):
        outlined(raw)
    else:
        with pytest.raises(InvalidDocument, match=r"index|layers"):
            outlined(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'{"root"',
        b'{"root":',
        b'{"root":"',
        b'{"root":"\\',
        b'{"root":"/m"',
        b'{"root":"/m",}',
        b'{"root":"/m" "x":1}',
        b'{"root":"/m"}}',
        b'{"root":"/m","root":"/m"}',
        b'{"root":"\\ud800"}',
        b'{"root":"\xff"}',
        b'{"root":nan}',
        b'{"root":[]}',
        b'{"later":[',
        b'{"later":"',
        b'{"later":{"a":"',
        b'{"later":]}',
        b'{"later":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"root":"' + b"a" * 100_000 + b'"}',
        b'{"layers":[{"chunks":[{"offset":0,"offset":0}]}]}',
        b'{"layers":[' + b",".join([b"{}"] * 3) + b"]}",
        b"{" + b",".join(b'"%d":1' % n for n in range(2000)) + b"}",
    ],
)
def test_what_is_no_index_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDocument):
        outlined(raw)


def test_it_is_found_in_its_layer(index: ModelIndex) -> None:
    layer = packed(index.to_json())
    assert without_details(outline_index_layer(at(layer), len(layer))) == without_details(index)
    with pytest.raises(InvalidContent):
        outline_index_layer(at(layer[:700]), 700)
    other = packed(b"{}", name="other")
    with pytest.raises(InvalidContent, match="holds no"):
        outline_index_layer(at(other), len(other))


def packed(content: bytes, name: str = INDEX_PATH) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


HEAD = f'{{"schemaVersion":1,"mediaType":"{MEDIA_TYPE}","root":"/models",'.encode()
FILE = b'{"path":"a","offset":0,"size":0,"role":"other","tensors":['
TENSOR = b'{"name":"a","dtype":"F32","shape":[1,2],"offset":0,"size":4}'
LAYER = b'{"digest":"%s","size":0,"mediaType":"x","chunks":[],"files":[' % DIGEST.encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "piece", "after"),
    [
        (HEAD + b'"layers":[],"later":[', b"1000,", b"1]}"),
        (HEAD + b'"layers":[],"later":["', b"\\u00e9", b'"]}'),
        (HEAD + b'"layers":[],"later":["",', b'"ab",', b'""]}'),
        (HEAD + b'"layers":[' + LAYER + FILE, TENSOR + b",", TENSOR + b"]}]}]}"),
        (HEAD + b'"layers":[' + LAYER + FILE[:-11] + b'"header":"', b"aGVs", b'"}]}]}'),
    ],
)  # fmt: skip
def test_what_nobody_wants_takes_no_memory(before: bytes, piece: bytes, after: bytes) -> None:
    count = (16 << 20) // len(piece)
    body = count * len(piece)

    def read_at(offset: int, size: int) -> bytes:
        """Made up as it is asked for."""
        if offset < len(before):
            return before[offset:]
        inside = offset - len(before)
        if inside < body:
            start = inside % len(piece)
            return (piece * (size // len(piece) + 2))[start : start + min(size, body - inside)]
        return after[inside - body :]

    tracemalloc.start()
    try:
        outline_index(read_at, 0, len(before) + body + len(after))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_there_are_so_many_parts_files_chunks_and_layers_and_no_more(
    index: ModelIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = index.to_json()
    outlined(raw)
    for name, what in (("PARTS", "objects"), ("FILES", "files"), ("CHUNKS", "chunks"), ("LAYERS", "layers")):
        with monkeypatch.context() as patch:
            patch.setattr(outline, f"_MOST_{name}", 1)
            with pytest.raises(InvalidDocument, match=what):
                outlined(raw)
