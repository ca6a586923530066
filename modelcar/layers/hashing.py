"""One pass over a layer's bytes: its digest, the digests of its chunks, and on request those of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from modelcar.layers.bytemap import ByteReader
from modelcar.layers.tar import Payload, VirtualTar
from modelcar.oci import Digest

__all__ = ["CHUNK_SIZE", "Chunk", "LayerDigests", "PackedDigests", "chunk_bounds", "hash_layer"]

CHUNK_SIZE: Final = 4 << 20  # bytes
_BUFFER = 256 << 10  # small enough to stay in a core's cache between two hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`[offset, offset + size)` of a blob, and the digest of those bytes."""

    offset: int
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDigests:
    """Of a blob that is gzip: its own digest, and the CRC-32 of each chunk of its payloads, little-endian, in order."""

    digest: Digest
    crcs: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDigests:
    """What one pass over a layer found.

    Attributes:
        digest: of the tar. A layer's blob has the same, unless it is `packed`.
        chunks: tile the tar.
        files: content digests by path, where they were asked for.
        spans: digests of each 4 MiB of the tar from its start, where they were asked for.
    """

    digest: Digest
    chunks: tuple[Chunk, ...]
    files: dict[str, Digest]
    packed: PackedDigests | None = None
    spans: tuple[Digest, ...] = ()

    @property
    def blob(self) -> Digest:
        """Of the layer as it is stored."""
        return self.packed.digest if self.packed is not None else self.digest


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
    spans: bool = False,
    advance: Callable[[int], None] = lambda _: None,
    ready: Callable[[int], None] = lambda _: None,
) -> LayerDigests:
    """Read a layer once and hash it. `advance` is told of bytes read; the lock is free while they are hashed.

    Args:
        content_digests: which payloads to digest as files too, at the price of one more hash of their bytes.
        spans: whether to digest spans, at the same price.
        ready: is told how far from the start the next bytes reach, and returns when they are there.

    Raises:
        SourceChanged: a file is not, or does not stay, in the state that the layer was planned with.
    """
    wanted = {p.offset: p for p in layer.payloads if p.size and content_digests(p)}
    whole = hashlib.sha256()
    evenly = _Spans()
    always: list[_Updated] = [whole, evenly] if spans else [whole]
    chunks = []
    files = {}
    buffer = memoryview(bytearray(_BUFFER))
    payload, payload_hash = None, hashlib.sha256()
    with layer.content.open() as reader:
        for offset, size in chunk_bounds(layer.content.size, layer.payloads):
            if offset in wanted:
                payload, payload_hash = wanted[offset], hashlib.sha256()
            chunk_hash = hashlib.sha256()
            targets = [*always, chunk_hash, payload_hash] if payload else [*always, chunk_hash]
            ready(offset + size)
            _feed(reader, size, buffer, targets)
            chunks.append(Chunk(offset=offset, size=size, digest=Digest("sha256", chunk_hash.hexdigest())))
            advance(size)
            if payload and offset + size == payload.offset + payload.size:
                files[payload.path] = Digest("sha256", payload_hash.hexdigest())
                payload = None
    files.update({p.path: Digest.of(b"") for p in layer.payloads if p.size == 0 and content_digests(p)})
    digest = Digest("sha256", whole.hexdigest())
    return LayerDigests(digest=digest, chunks=tuple(chunks), files=files, spans=evenly.finish() if spans else ())


class _Spans:
    """Hashes each `CHUNK_SIZE` bytes of what it is fed."""

    def __init__(self) -> None:
        self._found: list[Digest] = []
        self._hash = hashlib.sha256()
        self._left = CHUNK_SIZE

    def update(self, data: memoryview) -> None:
        while len(data) >= self._left:
            self._hash.update(data[: self._left])
            data = data[self._left :]
            self._next()
        self._hash.update(data)
        self._left -= len(data)

    def finish(self) -> tuple[Digest, ...]:
        if self._left < CHUNK_SIZE:
            self._next()
        return tuple(self._found)

    def _next(self) -> None:
        self._found.append(Digest("sha256", self._hash.hexdigest()))
        self._hash, self._left = hashlib.sha256(), CHUNK_SIZE


class _Updated(Protocol):
    """What takes bytes in."""

    def update(self, data: memoryview, /) -> None: ...


def _feed(reader: ByteReader, size: int, buffer: memoryview, targets: Sequence[_Updated]) -> None:
    while size:
        n = reader.readinto(buffer[: min(size, len(buffer))])
        piece = buffer[:n]
        for target in targets:
            target.update(piece)
        size -= n


def _cut(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for offset in range(start, stop, CHUNK_SIZE):
        yield offset, min(CHUNK_SIZE, stop - offset)
