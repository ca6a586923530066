"""One pass over the files of an eStargz layer: the digests of its blob and its tar, and what its table needs."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, Protocol

from modelcar.layers.estargz import EstargzPlan
from modelcar.layers.hashing import CHUNK_SIZE, Chunk, LayerDigests, PackedDigests
from modelcar.layers.storedgzip import BLOCK, CRC_SIZE, HEADER, block_header, gzip_member, member_size, trailer
from modelcar.layers.tar import Payload
from modelcar.oci import Digest
from modelcar.oci.digest import Hash

__all__ = ["hash_estargz"]

_BUFFER: Final = 4 * BLOCK  # small enough to stay in a core's cache between two hashes


class _Tar(Protocol):
    """The bytes of a tar from its start; never fewer than asked for before its end."""

    def read(self, n: int, /) -> bytes: ...
    def readinto(self, buffer: memoryview, /) -> int: ...


def hash_estargz(
    plan: EstargzPlan,
    *,
    content_digests: Callable[[Payload], bool] = lambda _: False,
    advance: Callable[[int], None] = lambda _: None,
    tar: AbstractContextManager[_Tar] | None = None,
) -> LayerDigests:
    """Read the files once; as `hash_layer`. `digest` and `chunks` of the result are those of the tar.

    Args:
        tar: what is read in place of the plan's own files.

    Raises:
        SourceChanged: a file is not, or does not stay, in the state that the layer was planned with.
    """
    pass_ = _Pass(plan)
    wanted = {p.offset: p.path for p in plan.tar.payloads if p.size and content_digests(p)}
    files = {p.path: Digest.of(b"") for p in plan.tar.payloads if not p.size and content_digests(p)}
    with tar or plan.tar.content.open(0, plan.regions[-1].stop) as reader:
        for region in plan.regions:
            if not region.is_payload:
                pass_.between(reader.read(region.size), region.start)
                advance(member_size(region.size))
                continue
            whole = hashlib.sha256() if region.start in wanted else None
            for start in range(region.start, region.stop, CHUNK_SIZE):
                size = min(CHUNK_SIZE, region.stop - start)
                pass_.chunk(reader, start, size, [whole] if whole else [])
                advance(member_size(size))
            if whole:
                files[wanted[region.start]] = Digest("sha256", whole.hexdigest())
    result = pass_.finish(files)
    advance(plan.size - plan.toc_offset)
    return result


class _Pass:
    """What has been found of a layer so far."""

    def __init__(self, plan: EstargzPlan) -> None:
        self._plan = plan
        self._tar = hashlib.sha256()
        self._blob = hashlib.sha256()
        self._buffer = memoryview(bytearray(_BUFFER))
        self._chunks: list[Chunk] = []
        self._crcs = bytearray()
        payloads = plan.tar.payloads
        self._tail = payloads[-1].offset + payloads[-1].size  # what follows is cut as one with the table of contents
        self._last = b""

    def between(self, data: bytes, offset: int) -> None:
        """What lies between payloads, at `offset` of the tar."""
        self._tar.update(data)
        self._blob.update(gzip_member(data))
        if offset == self._tail:
            self._last = data
        else:
            self._chunks += _cut(data, offset)

    def chunk(self, reader: _Tar, offset: int, size: int, more: list[Hash]) -> None:
        """A chunk of a payload, which is also a gzip member."""
        found = hashlib.sha256()
        targets = [self._tar, found, *more]
        crc, left = 0, size
        self._blob.update(HEADER)
        while left:
            piece = self._buffer[: reader.readinto(self._buffer[: min(left, _BUFFER)])]
            for target in targets:
                target.update(piece)
            crc = zlib.crc32(piece, crc)
            for at in range(0, len(piece), BLOCK):
                block = piece[at : at + BLOCK]
                left -= len(block)
                self._blob.update(block_header(len(block), last=not left))
                self._blob.update(block)
        self._blob.update(trailer(crc, size))
        self._crcs += crc.to_bytes(CRC_SIZE, "little")
        self._chunks.append(Chunk(offset=offset, size=size, digest=Digest("sha256", found.hexdigest())))

    def finish(self, files: dict[str, Digest]) -> LayerDigests:
        toc = self._plan.toc(self._chunks)
        ending = self._plan.ending(toc)
        self._tar.update(ending)
        self._blob.update(self._plan.trailer(toc))
        self._chunks += _cut(self._last + ending, self._tail)
        return LayerDigests(
            digest=Digest("sha256", self._tar.hexdigest()),
            chunks=tuple(self._chunks),
            files=files,
            packed=PackedDigests(digest=Digest("sha256", self._blob.hexdigest()), crcs=bytes(self._crcs)),
        )


def _cut(data: bytes, offset: int) -> Iterator[Chunk]:
    for at in range(0, len(data), CHUNK_SIZE):
        piece = data[at : at + CHUNK_SIZE]
        yield Chunk(offset=offset + at, size=len(piece), digest=Digest.of(piece))
