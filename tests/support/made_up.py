"""Models of any size that are never written: a few patterns over and over, so that nobody has to hash all of it."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from modelcar.checkpoint.formats.header import Tensor
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.hashing import CHUNK_SIZE, Chunk, chunk_bounds, hash_layer
from modelcar.layers.index import INDEX_PATH, IndexedFile, IndexedLayer, ModelIndex
from modelcar.layers.tar import Entry, VirtualTar, build_tar
from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import MODEL_ROOT, LayerKind
from tests.support.images import describe

__all__ = ["MadeUpModel", "made_up_model"]

_TENSOR: Final = 16 << 20  # bytes, at most
_ROW: Final = 2048  # bytes of one row of BF16


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpModel:
    """An image: its documents, and blobs that are made up when they are read.

    Every manifest, digest of a document and digest of a chunk is right. The digests of the weight layers as a whole are
    made up, too, unless the model was made `whole`: who has all of such a layer finds that out.
    """

    manifests: tuple[Manifest, ...]
    index: Index
    blobs: Mapping[Digest, ByteMap]
    model: ModelIndex

    @property
    def first_tensor(self) -> tuple[str, Tensor]:
        """With the path of its file."""
        file = next(f for layer in self.model.layers for f in layer.files if f.tensors)
        return file.path, file.tensors[0]

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file of the model."""
        layer, file = next((la, f) for la in self.model.layers for f in la.files if f.path == path)
        with self.blobs[layer.digest].open(file.offset + offset, length) as reader:
            return reader.read()


def made_up_model(size: int, *, shards: int = 4, seed: int = 1, whole: bool = False) -> MadeUpModel:
    """About `size` bytes of weights in `shards` files. The same arguments give the same model."""
    pattern = random.Random(seed).randbytes(CHUNK_SIZE)
    layers = [_shard(n, shards, size // shards, pattern, whole=whole) for n in range(1, shards + 1)]
    config = json.dumps({"model_type": "llama", "torch_dtype": "bfloat16", "seed": seed}).encode()
    layers.append(_small({"config.json": config}))
    model = ModelIndex(root=f"/{MODEL_ROOT}", layers=tuple(layer for layer, _, _ in layers))
    index_tar = build_tar([Entry(path=INDEX_PATH, content=Literal(model.to_json()))])
    index_layer = Descriptor(
        media_type=media_types.LAYER_TAR,
        digest=hash_layer(index_tar).digest,
        size=index_tar.content.size,
        annotations={LAYER: LayerKind.INDEX},
    )
    documents = describe([*(descriptor for _, descriptor, _ in layers), index_layer])
    blobs = {layer.digest: tar.content for layer, _, tar in layers} | {index_layer.digest: index_tar.content}
    return MadeUpModel(
        manifests=documents.manifests,
        index=documents.index,
        blobs={**blobs, **{d: ByteMap([Literal(content)]) for d, content in documents.blobs.items()}},
        model=model,
    )


def _shard(
    number: int, of: int, size: int, pattern: bytes, *, whole: bool
) -> tuple[IndexedLayer, Descriptor, VirtualTar]:
    header, tensors = _header(f"model.{number}", size)
    content = ByteMap([Literal(header), *_repeated(pattern, sum(t.size for t in tensors))])
    name = f"model-{number:05}-of-{of:05}.safetensors"
    tar = build_tar([Entry(path=f"{MODEL_ROOT}/{name}", content=content)])
    (payload,) = tar.payloads
    chunks = tuple(_chunks(tar, payload.offset))
    made_up = Digest.of(f"{name} {size} {chunks[-1].digest}".encode())
    file = IndexedFile(
        path=name,
        offset=payload.offset,
        size=payload.size,
        role="weights",
        format="safetensors",
        header_size=len(header),
        header=header,
        tensors=tensors,
    )
    layer = IndexedLayer(
        digest=hash_layer(tar).digest if whole else made_up,
        size=tar.content.size,
        media_type=media_types.LAYER_TAR,
        chunks=chunks,
        files=(file,),
    )
    return layer, _described(layer, LayerKind.WEIGHTS), tar


def _small(files: Mapping[str, bytes]) -> tuple[IndexedLayer, Descriptor, VirtualTar]:
    tar = build_tar([Entry(path=f"{MODEL_ROOT}/{path}", content=Literal(data)) for path, data in files.items()])
    found = hash_layer(tar)
    indexed = tuple(
        IndexedFile(path=p.path.removeprefix(f"{MODEL_ROOT}/"), offset=p.offset, size=p.size, role="config")
        for p in tar.payloads
    )
    layer = IndexedLayer(
        digest=found.digest,
        size=tar.content.size,
        media_type=media_types.LAYER_TAR,
        chunks=found.chunks,
        files=indexed,
    )
    return layer, _described(layer, LayerKind.FILES), tar


def _described(layer: IndexedLayer, kind: LayerKind) -> Descriptor:
    return Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size, annotations={LAYER: kind})


def _header(prefix: str, size: int) -> tuple[bytes, tuple[Tensor, ...]]:
    """A safetensors header over about `size` bytes of BF16, and what it lists."""
    each = min(size, _TENSOR) // _ROW * _ROW
    entries = {
        f"{prefix}.layers.{n}.weight": {
            "dtype": "BF16",
            "shape": [each // _ROW, _ROW // 2],
            "data_offsets": [n * each, (n + 1) * each],
        }
        for n in range(size // each)
    }
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    header = struct.pack("<Q", len(text)) + text
    shape = (each // _ROW, _ROW // 2)
    tensors = tuple(
        Tensor(name=name, dtype="BF16", shape=shape, offset=len(header) + n * each, size=each)
        for n, name in enumerate(entries)
    )
    return header, tensors


def _repeated(pattern: bytes, size: int) -> Iterator[Literal]:
    """One object in memory, however often it is there."""
    one = Literal(pattern)
    for _ in range(size // len(pattern)):
        yield one
    yield Literal(pattern[: size % len(pattern)])


def _chunks(tar: VirtualTar, payload: int) -> Iterator[Chunk]:
    """Behind the first of the payload, full chunks are the same as long as the pattern goes on: one is hashed."""
    known: Digest | None = None
    bounds = list(chunk_bounds(tar.content.size, tar.payloads))
    for offset, size in bounds:
        repeats = offset > payload and size == CHUNK_SIZE and offset + size <= payload + tar.payloads[0].size
        if repeats and known is not None:
            yield Chunk(offset=offset, size=size, digest=known)
            continue
        with tar.content.open(offset, size) as reader:
            digest = Digest.of(reader.read())
        known = digest if repeats else known
        yield Chunk(offset=offset, size=size, digest=digest)
