"""Model indexes with something wrong, and by whom that is seen: the schema and the parser, or the parser alone."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.layers.index import ModelIndex
from modelcar.oci import Digest

__all__ = ["BY_PARSER_ALONE", "BY_SCHEMA", "CHUNK", "FILE", "HEADER", "LAYER", "TENSOR", "broken", "put"]

HEADER = b"h" * 80


def put(*steps: str | int, value: Any) -> Callable[[Any], None]:
    """An edit that sets the member at the path `steps`, or removes it if the value is `...`."""

    def edit(document: Any) -> None:
        for step in steps[:-1]:
            document = document[step]
        if value is ...:
            del document[steps[-1]]
        else:
            document[steps[-1]] = value(document[steps[-1]]) if callable(value) else value

    return edit


LAYER: tuple[str | int, ...] = ("layers", 0)
CHUNK = (*LAYER, "chunks", 1)
FILE = (*LAYER, "files", 1)  # the shard; an empty file precedes it
TENSOR = (*FILE, "tensors", 2)
BY_SCHEMA = [
    put("schemaVersion", value=2),
    put("schemaVersion", value="1"),
    put("mediaType", value="application/json"),
    *[put("root", value=v) for v in ("models", "/", "", "/a/../b", "/a/", "//a", "/.", "/a\0", None, ...)],
    put("layers", value={}),
    *[put("layers", value=v) for v in (None, ...)],
    *[put(*LAYER, name, value=v) for name in ("files", "chunks") for v in ("x", None, ...)],
    put(*LAYER, value=[]),
    *[put(*LAYER, name, value=...) for name in ("digest", "size", "mediaType")],
    put(*LAYER, "digest", value="sha256:abc"),
    put(*LAYER, "size", value=-1),
    *[put(*CHUNK, name, value=...) for name in ("offset", "size", "digest")],
    *[put(*CHUNK, "size", value=v) for v in (0, -1, 1.5, "1", True, None, CHUNK_SIZE + 1)],
    put(*CHUNK, "digest", value="md5:" + "0" * 32),
    *[put(*FILE, name, value=...) for name in ("path", "offset", "size", "role", "headerSize")],
    *[
        put(*FILE, "path", value=v)
        for v in ("/etc/passwd", "../a", "a/../../b", "a//b", "a/", ".", "..", "", "a\0b", 1)
    ],
    put(*FILE, "digest", value="x"),
    put(*FILE, "digest", value=1),
    put(*FILE, "header", value="***"),
    put(*FILE, "header", value="é"),
    put(*FILE, "headerSize", value=-1),
    put(*FILE, "headerSize", value=1 << 63),
    *[put(*TENSOR, name, value=...) for name in ("name", "dtype", "shape", "offset", "size")],
    put(*TENSOR, "shape", value=[-1]),
    put(*TENSOR, "shape", value=[1.5]),
    put(*TENSOR, "shape", value="10"),
    put(*TENSOR, "name", value=""),
]


BY_PARSER_ALONE = [
    put(*LAYER, "size", value=lambda n: n + 1),
    put(*LAYER, "size", value=lambda n: n - 1),
    put(*LAYER, "chunks", value=lambda chunks: chunks[1:]),
    put(*LAYER, "chunks", value=lambda chunks: chunks[:-1]),
    put(*LAYER, "chunks", value=lambda chunks: chunks[:1] + chunks[2:]),
    put(*LAYER, "chunks", value=lambda chunks: chunks + chunks[-1:]),
    put(*LAYER, "chunks", value=lambda chunks: chunks[::-1]),
    put(*LAYER, "chunks", value=[]),
    put(*CHUNK, "offset", value=lambda n: n + 1),
    put(*CHUNK, "offset", value=lambda n: n - 1),
    put(*CHUNK, "size", value=lambda n: n - 1),
    put(*CHUNK, "size", value=lambda n: n + 1),
    put("layers", value=lambda layers: layers * 2),
    put(*LAYER, "digest", value=str(Digest.of(b""))),
    put(*FILE, "offset", value=1 << 62),
    put(*FILE, "size", value=1 << 62),
    put(*FILE, "size", value=79),
    put(*LAYER, "files", value=lambda files: files[::-1]),
    put(*LAYER, "files", value=lambda files: [*files, files[-1]]),
    put("layers", 1, "files", 1, "path", value="shard0"),
    put(*FILE, "headerSize", value=79),
    put(*FILE, "headerSize", value=81),
    put(*FILE, "header", value=base64.b64encode(b"h" * 79).decode()),
    put(*TENSOR, "offset", value=83),
    put(*TENSOR, "offset", value=79),
    put(*TENSOR, "offset", value=99_901),
    put(*TENSOR, "size", value=99_999),
    put(*TENSOR, "name", value="scalar"),
]


def broken(index: ModelIndex, edit: Callable[[Any], None]) -> Any:
    document = copy.deepcopy(json.loads(index.to_json()))
    edit(document)
    if document.get("layers") and isinstance(document["layers"], list) and len(document["layers"]) == 2:
        first, second = document["layers"]
        if isinstance(first, dict) and first.get("digest") == str(Digest.of(b"")):
            second["digest"] = first["digest"]
    return document
