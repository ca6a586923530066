"""The model index: round trip, every lie refused, and the JSON Schema in agreement with the parser."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelcar.checkpoint.formats.header import Tensor
from modelcar.errors import InvalidDocument
from modelcar.layers.hashing import CHUNK_SIZE, Chunk, chunk_bounds, hash_layer
from modelcar.layers.index import MEDIA_TYPE, IndexedFile, IndexedLayer, ModelIndex
from modelcar.layers.tar import Payload, build_tar
from modelcar.oci import Digest, media_types
from tests.support.trees import entries_of, random_tree

FORMATS = Path(__file__).parents[3] / "docs" / "formats"
SCHEMA = json.loads((FORMATS / "model-index.schema.json").read_text())
HEADER = b"h" * 80


def check_schema(document: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ModelIndex:
    layers = []
    for i in range(2):
        tree = random_tree(tmp_path_factory.mktemp("tree"), {f"shard{i}": 100_000, f"empty{i}": 0, f"é/small{i}": 10})
        tar = build_tar(entries_of(tree))
        found = hash_layer(tar, content_digests=lambda p: p.size < 100)
        files = [
            IndexedFile(path=p.path, offset=p.offset, size=p.size, role="other", digest=found.files.get(p.path))
            if p.size < 100
            else IndexedFile(
                path=p.path,
                offset=p.offset,
                size=p.size,
                role="weight",
                format="safetensors",
                header_size=80,
                header=HEADER,
                tensors=(
                    Tensor(name="scalar", dtype="F32", shape=(), offset=80, size=4),
                    Tensor(name="none", dtype="BF16", shape=(0, 9), offset=84, size=0),
                    Tensor(name="<weight>&", dtype="BF16", shape=(10, 5), offset=84, size=100),
                ),
            )
            for p in tar.payloads
        ]
        layers.append(
            IndexedLayer(
                digest=found.digest,
                size=tar.content.size,
                media_type=media_types.LAYER_TAR,
                chunks=found.chunks,
                files=tuple(files),
            )
        )
    return ModelIndex(root="/models", layers=tuple(layers))


def test_round_trip(index: ModelIndex) -> None:
    raw = index.to_json()
    assert ModelIndex.parse(raw) == index
    assert ModelIndex.parse(raw).to_json() == raw
    assert b"\\u003cweight\\u003e\\u0026" in raw
    check_schema(json.loads(raw))


def test_what_is_unknown_is_kept_at_the_top_and_ignored_below(index: ModelIndex) -> None:
    document = json.loads(index.to_json())
    document["later"] = {"a": 1}
    document["layers"][0]["later"] = True
    parsed = ModelIndex.parse(json.dumps(document).encode())
    assert parsed.rest == {"later": {"a": 1}}
    assert parsed.layers == index.layers
    check_schema(document)


def test_the_documented_example() -> None:
    text = (FORMATS / "model-index.md").read_text()
    example = re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0]
    check_schema(json.loads(example))
    parsed = ModelIndex.parse(example.encode())
    assert [list(f) for f in json.loads(parsed.to_json())["layers"]] == [
        ["digest", "size", "mediaType", "files", "chunks"]
    ]


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


@pytest.mark.parametrize("edit", [*BY_SCHEMA, *BY_PARSER_ALONE])
def test_lies_are_refused(index: ModelIndex, edit: Callable[[Any], None]) -> None:
    with pytest.raises(InvalidDocument, match=r"index|layers"):
        ModelIndex.parse(json.dumps(broken(index, edit)).encode())


@pytest.mark.parametrize("edit", BY_SCHEMA)
def test_the_schema_refuses_what_it_can(index: ModelIndex, edit: Callable[[Any], None]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check_schema(broken(index, edit))


@pytest.mark.slow
def test_an_index_of_140_gb_stays_small() -> None:
    """30 shards of 4.7 GB with 20 tensors each; a mixture of experts has ten times as many."""
    shard = 47 * 10**8
    layers = []
    for i in range(30):
        bounds = chunk_bounds(shard + 8192, [Payload(path="x", offset=4096, size=shard)])
        chunks = tuple(Chunk(offset=o, size=s, digest=Digest("sha256", f"{i:02x}{o:062x}")) for o, s in bounds)
        step = (shard - 80) // 20
        tensors = tuple(
            Tensor(name=f"model.layers.{i}.{t}", dtype="BF16", shape=(step // 2,), offset=80 + t * step, size=step)
            for t in range(20)
        )
        file = IndexedFile(
            path=f"shard{i}",
            offset=4096,
            size=shard,
            role="weight",
            format="safetensors",
            header_size=80,
            tensors=tensors,
        )
        digest = Digest("sha256", f"{i:064x}")
        layers.append(IndexedLayer(digest=digest, size=shard + 8192, media_type="x", chunks=chunks, files=(file,)))
    raw = ModelIndex(root="/models", layers=tuple(layers)).to_json()
    assert len(ModelIndex.parse(raw).layers[0].chunks) == 1123
    assert len(raw) < 6_000_000


def test_the_media_type_is_what_is_documented() -> None:
    assert SCHEMA["properties"]["mediaType"]["const"] == MEDIA_TYPE
