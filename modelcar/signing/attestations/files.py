"""Digests of a model's files as its index has them: nothing is hashed here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from modelcar.layers.hashing import Chunk
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.oci import Digest

__all__ = ["chunks_of", "content_digest", "files_of"]


def files_of(model: ModelIndex) -> Iterator[tuple[IndexedFile, IndexedLayer]]:
    """Every file with its layer, by path as POSIX systems compare paths: part by part."""
    pairs = [(file, layer) for layer in model.layers for file in layer.files]
    yield from sorted(pairs, key=lambda pair: pair[0].path.split("/"))


def chunks_of(file: IndexedFile, layer: IndexedLayer) -> Sequence[Chunk] | None:
    """The chunks that are this file's content and nothing else; `None` if the chunks are cut in another way."""
    start = bisect_left(layer.chunks, file.offset, key=lambda chunk: chunk.offset)
    end = bisect_left(layer.chunks, file.offset + file.size, key=lambda chunk: chunk.offset)
    found = layer.chunks[start:end]
    begins = not found or found[0].offset == file.offset
    return found if begins and sum(chunk.size for chunk in found) == file.size else None


def content_digest(file: IndexedFile, layer: IndexedLayer) -> Digest | None:
    """The digest of the file's whole content: as recorded, or that of its only chunk. `None` if nothing says it."""
    if file.digest is not None:
        return file.digest
    if file.size == 0:
        return Digest.of(b"")
    chunks = chunks_of(file, layer)
    return chunks[0].digest if chunks is not None and len(chunks) == 1 else None
