"""A model index of two layers."""

from __future__ import annotations

import pytest

from modelcar.checkpoint.formats.header import Tensor
from modelcar.layers.hashing import hash_layer
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.layers.tar import build_tar
from modelcar.oci import media_types
from tests.support.trees import entries_of, random_tree
from tests.unit.layers.index_documents import HEADER


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
