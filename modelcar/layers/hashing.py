"""One pass over a layer's bytes: its digest, the digests of its chunks, and on request those of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.layers.bytemap import ByteReader
from modelcar.layers.tar import Payload, VirtualTar
from modelcar.oci import Digest
from modelcar.oci.digest import Hash

__all__ = ["CHUNK_SIZE", "Chunk", "LayerDigests", "chunk_bounds", "hash_layer"]

CHUNK_SIZE: Final = 4 << 20  # bytes
_BUFFER = 256 << 10  # small enough to stay in a core's cache between two hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`[offset, offset + size)` of a blob, and the digest of those bytes."""

    offset: int
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDigests:
    """What one pass over a layer found. `files` maps paths to content digests where they were asked for."""

    digest: Digest
    chunks: tuple[Chunk, ...]
    files: dict[str, Digest]


def chunk_bounds(size: int, payloads: Sequence[Payload]) -> Iterator[tuple[int, int]]:
    """`(offset, size)` of the chunks that tile a blob of `size` bytes.

    A payload is cut every 4 MiB from its own start, so a file's chunks depend on its content alone; what lies before,
    between and after payloads (headers, padding, trailer) is cut in the same way.
    """
    position = 0
    for payload in payloads:
        yield from _cut(position, payload.offset)
        yield from _cut(payload.offset, payload.offset + payload.size)
        position = payload.offset + payload.size
    yield from _cut(position, size)


def hash_layer(
    layer: VirtualTar,
    *,
    content_digests: Callable[[Payload], bool] = lambda _: False,
    advance: Callable[[int], None] = lambda _: None,
) -> LayerDigests:
    """Read a layer once and hash it. `advance` is told of bytes read; the lock is free while they are hashed.

    Args:
        content_digests: which payloads to digest as files too, at the price of one more hash of their bytes.

    Raises:
        SourceChanged: a file is not, or does not stay, in the state that the layer was planned with.
    """
    wanted = {p.offset: p for p in layer.payloads if p.size and content_digests(p)}
    whole = hashlib.sha256()
    chunks = []
    files = {}
    buffer = memoryview(bytearray(_BUFFER))
    payload, payload_hash = None, hashlib.sha256()
    with layer.content.open() as reader:
        for offset, size in chunk_bounds(layer.content.size, layer.payloads):
            if offset in wanted:
                payload, payload_hash = wanted[offset], hashlib.sha256()
            chunk_hash = hashlib.sha256()
            targets = [whole, chunk_hash, payload_hash] if payload else [whole, chunk_hash]
            _feed(reader, size, buffer, targets)
            chunks.append(Chunk(offset=offset, size=size, digest=Digest("sha256", chunk_hash.hexdigest())))
            advance(size)
            if payload and offset + size == payload.offset + payload.size:
                files[payload.path] = Digest("sha256", payload_hash.hexdigest())
                payload = None
    files.update({p.path: Digest.of(b"") for p in layer.payloads if p.size == 0 and content_digests(p)})
    return LayerDigests(digest=Digest("sha256", whole.hexdigest()), chunks=tuple(chunks), files=files)


def _feed(reader: ByteReader, size: int, buffer: memoryview, targets: Sequence[Hash]) -> None:
    while size:
        n = reader.readinto(buffer[: min(size, len(buffer))])
        piece = buffer[:n]
        for target in targets:
            target.update(piece)
        size -= n


def _cut(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for offset in range(start, stop, CHUNK_SIZE):
        yield offset, min(CHUNK_SIZE, stop - offset)
