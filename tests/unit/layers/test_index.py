"""The model index: round trip, every lie refused, and the JSON Schema in agreement with the parser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelcar.checkpoint.formats.header import Tensor
from modelcar.errors import InvalidDocument
from modelcar.layers.hashing import Chunk, chunk_bounds
from modelcar.layers.index import MEDIA_TYPE, IndexedFile, IndexedLayer, ModelIndex
from modelcar.layers.tar import Payload
from modelcar.oci import Digest
from tests.unit.layers.index_documents import BY_PARSER_ALONE, BY_SCHEMA, broken

FORMATS = Path(__file__).parents[3] / "docs" / "formats"
SCHEMA = json.loads((FORMATS / "model-index.schema.json").read_text())


def check_schema(document: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


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
