"""A model index in little memory: its layers, their chunks and files, and neither tensors nor headers.

A node meets indexes of images that nobody has said a word about yet. What this takes of memory depends on how many
layers, files and chunks it lets an image have, and not on what somebody wrote into an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelcar.errors import InvalidDocument
from modelcar.files import ReadAt
from modelcar.layers.chunktable import ChunkTable
from modelcar.layers.hashing import Chunk
from modelcar.layers.index import (
    INDEX_PATH,
    IndexedFile,
    IndexedLayer,
    ModelIndex,
    check_index,
    check_version,
    chunk_of,
    file_of,
    layer_of,
)
from modelcar.layers.jsonpull import JsonPull
from modelcar.layers.members import locate_members
from modelcar.oci.document import Fields

__all__ = ["LARGEST", "outline_index", "outline_index_layer"]

LARGEST: Final = 64 << 20  # bytes of an index layer that a node reads at all; one of a 2 TB model fits
_MOST_PARTS: Final = 2_000_000  # objects and arrays: seconds to walk; an index of 64 MiB has fewer
_MOST_LAYERS: Final = 1000
_MOST_FILES: Final = 100_000
_MOST_CHUNKS: Final = 1_000_000  # of 4 MiB: 4 TB
_HEAD: Final = frozenset({"schemaVersion", "mediaType", "root"})
_LAYER: Final = frozenset({"digest", "size", "mediaType"})
_FILE: Final = frozenset({"path", "offset", "size", "role", "format", "digest", "headerSize"})
_CHUNK: Final = frozenset({"offset", "size", "digest"})


def outline_index_layer(read_at: ReadAt, size: int) -> ModelIndex:
    """The outline of the index in a layer of `size` bytes.

    Raises:
        InvalidContent: it is not a tar with `/.modelcar/index.json` in it, or the index is malformed, or larger than
            any that a node reads.
    """
    member = locate_members(read_at, size).get(INDEX_PATH)
    if member is None:
        raise InvalidDocument(f"the index layer holds no {INDEX_PATH}")
    return outline_index(read_at, member.offset, member.size)


def outline_index(read_at: ReadAt, offset: int, size: int) -> ModelIndex:
    """As `ModelIndex.parse` of `[offset, offset + size)`, checked alike, but for what it leaves out: tensors, the bytes
    of headers, and members that are unknown.

    Raises:
        InvalidDocument: with the path to the offending field, or the byte.
    """
    return _Outline(JsonPull(read_at, offset, size, what="model index", most=_MOST_PARTS)).read()


class _Outline:
    def __init__(self, pull: JsonPull) -> None:
        self._pull = pull
        self._files = self._chunks = 0

    def read(self) -> ModelIndex:
        pull = self._pull
        head: dict[str, Any] = {}
        layers: tuple[IndexedLayer, ...] | None = None
        for name in pull.members():
            if name in _HEAD:
                head[name] = pull.scalar()
            elif name == "layers":
                layers = tuple(self._layers())
            else:
                pull.skip()
        pull.end()
        fields = Fields(head, "index")
        check_version(fields)
        if layers is None:
            raise InvalidDocument("index.layers is missing")
        index = ModelIndex(root=fields.text("root"), layers=layers)
        check_index(index)
        return index

    def _layers(self) -> Iterator[IndexedLayer]:
        for number, _ in enumerate(self._pull.elements()):
            if number == _MOST_LAYERS:
                raise InvalidDocument(f"model index has more than {_MOST_LAYERS} layers")
            yield self._layer(f"index.layers[{number}]")

    def _layer(self, path: str) -> IndexedLayer:
        head: dict[str, Any] = {}
        chunks: ChunkTable | None = None
        files: tuple[IndexedFile, ...] | None = None
        for name in self._pull.members():
            if name in _LAYER:
                head[name] = self._pull.scalar()
            elif name == "blob":
                head[name] = self._pull.record(_LAYER)
            elif name == "chunks":
                chunks = ChunkTable(self._chunks_of(f"{path}.chunks"), f"{path}.chunks")
            elif name == "files":
                files = tuple(self._files_of(f"{path}.files"))
            else:
                self._pull.skip()
        if chunks is None or files is None:
            raise InvalidDocument(f"{path}.{'chunks' if chunks is None else 'files'} is missing")
        return layer_of(Fields(head, path), chunks, files)

    def _chunks_of(self, path: str) -> Iterator[Chunk]:
        for number, _ in enumerate(self._pull.elements()):
            self._chunks += 1
            if self._chunks > _MOST_CHUNKS:
                raise InvalidDocument(f"model index has more than {_MOST_CHUNKS} chunks")
            yield chunk_of(Fields(self._pull.record(_CHUNK), f"{path}[{number}]"))

    def _files_of(self, path: str) -> Iterator[IndexedFile]:
        for number, _ in enumerate(self._pull.elements()):
            self._files += 1
            if self._files > _MOST_FILES:
                raise InvalidDocument(f"model index has more than {_MOST_FILES} files")
            yield file_of(Fields(self._pull.record(_FILE), f"{path}[{number}]"))
