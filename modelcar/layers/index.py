"""The model index: every layer's chunks, files and tensors, so that any range can be fetched and verified alone.

The format is documented in `docs/formats/model-index.md`, with a JSON Schema beside it.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from modelcar.checkpoint.formats.header import Tensor
from modelcar.errors import InvalidDigest, InvalidDocument
from modelcar.layers.chunktable import ChunkTable
from modelcar.layers.hashing import CHUNK_SIZE, Chunk
from modelcar.oci import Digest, compact_json
from modelcar.oci.document import Fields, parse_object

__all__ = [
    "INDEX_PATH",
    "MEDIA_TYPE",
    "IndexedFile",
    "IndexedLayer",
    "ModelIndex",
    "StoredBlob",
    "check_index",
    "check_version",
    "chunk_of",
    "file_of",
    "layer_of",
]

INDEX_PATH: Final = ".modelcar/index.json"
MEDIA_TYPE: Final = "application/vnd.modelcar.index.v1+json"
_MAX_INDEX = 256 << 20  # bytes; a 2 TB model of 4 MiB chunks needs about 60 MB
_MAX_PARTS = 4_000_000  # objects and arrays in it, each of which takes much more memory than it has bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFile:
    """A file: its bytes are `[offset, offset + size)` of the layer's blob.

    A tensor's offset counts from the start of the file. `header` is what stands before the first tensor, exactly
    (absent where it is larger than 16 MiB); `header_size` is its length in bytes. `digest` is of the file's content,
    where it was asked for.
    """

    path: str
    offset: int
    size: int
    role: str
    format: str | None = None
    digest: Digest | None = None
    header_size: int | None = None
    header: bytes | None = None
    tensors: tuple[Tensor, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"path": self.path, "offset": self.offset, "size": self.size, "role": self.role}
        if self.format is not None:
            result["format"] = self.format
        if self.digest is not None:
            result["digest"] = str(self.digest)
        if self.header_size is not None:
            result["headerSize"] = self.header_size
        if self.header is not None:
            result["header"] = base64.b64encode(self.header).decode()
        if self.tensors:
            result["tensors"] = [_tensor_to_dict(t) for t in self.tensors]
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """The blob that the image holds in place of a layer's tar."""

    digest: Digest
    size: int
    media_type: str

    def to_dict(self) -> dict[str, Any]:
        return {"digest": str(self.digest), "size": self.size, "mediaType": self.media_type}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedLayer:
    """A layer: the chunks tile its tar, in order and without gaps.

    Its digest, size and type are those of the tar. That is its blob in the image, unless there is another `blob` that
    decompresses to it; no byte of a file can be taken from that one directly.
    """

    digest: Digest
    size: int
    media_type: str
    chunks: Sequence[Chunk]
    files: tuple[IndexedFile, ...]
    blob: StoredBlob | None = None

    @property
    def listed_as(self) -> Digest:
        """The digest by which manifests list the layer."""
        return self.blob.digest if self.blob is not None else self.digest

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": str(self.digest),
            "size": self.size,
            "mediaType": self.media_type,
            **({"blob": self.blob.to_dict()} if self.blob is not None else {}),
            "files": [f.to_dict() for f in self.files],
            "chunks": [{"offset": c.offset, "size": c.size, "digest": str(c.digest)} for c in self.chunks],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIndex:
    """All layers of one model, bottom to top. `root` is the folder in the image under which file paths lie."""

    root: str
    layers: tuple[IndexedLayer, ...]
    rest: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The index as bytes; a pure function of its content."""
        return compact_json(
            {
                "schemaVersion": 1,
                "mediaType": MEDIA_TYPE,
                "root": self.root,
                "layers": [layer.to_dict() for layer in self.layers],
                **self.rest,
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> ModelIndex:
        """Parse and check an index.

        Chunks tile each layer, files lie inside it one after the other, tensors inside files likewise. Paths are
        relative and go nowhere else; no path and no layer is there twice.

        Raises:
            InvalidDocument: with the path to the offending field.
        """
        if raw.count(b"{") + raw.count(b"[") > _MAX_PARTS:
            raise InvalidDocument(f"model index has more than {_MAX_PARTS} objects and arrays")
        fields = Fields(parse_object(raw, "model index", limit=_MAX_INDEX), "index")
        check_version(fields)
        index = cls(
            root=fields.text("root"),
            layers=tuple(_layer(f) for f in _required(fields, "layers")),
            rest=fields.rest(frozenset({"schemaVersion", "mediaType", "root", "layers"})),
        )
        check_index(index)
        return index


def check_version(fields: Fields) -> None:
    """Raise `InvalidDocument` unless this is an index of the one version that we read."""
    if fields.size("schemaVersion") != 1 or fields.text("mediaType") != MEDIA_TYPE:
        raise InvalidDocument("model index is of another version", hint="a newer modelcar may read it")


def check_index(index: ModelIndex) -> None:
    """Raise `InvalidDocument` for what the parts of an index cannot tell alone."""
    if not index.root.startswith("/") or not _is_normal(index.root[1:]):
        raise InvalidDocument("index.root is not an absolute path")
    _check_unique([str(layer.digest) for layer in index.layers], "index.layers")
    _check_unique([str(layer.listed_as) for layer in index.layers], "index.layers")
    _check_unique([file.path for layer in index.layers for file in layer.files], "index.layers.files")


def _layer(fields: Fields) -> IndexedLayer:
    chunks = ChunkTable(map(chunk_of, _required(fields, "chunks")), f"{fields.path}.chunks")
    layer = layer_of(fields, chunks, tuple(map(file_of, _required(fields, "files"))))
    return replace(layer, chunks=chunks[:])


def layer_of(fields: Fields, chunks: ChunkTable, files: tuple[IndexedFile, ...]) -> IndexedLayer:
    """A layer from its scalars and what it consists of. Raises `InvalidDocument`."""
    size = fields.size("size")
    if chunks.size != size:
        raise InvalidDocument(f"{fields.path}.chunks cover {chunks.size} of {size} bytes")
    _check_order(files, f"{fields.path}.files", size)
    blob = fields.optional_object("blob")
    return IndexedLayer(
        digest=_digest(fields),
        size=size,
        media_type=fields.text("mediaType"),
        chunks=chunks,
        files=files,
        blob=_blob(blob) if blob is not None else None,
    )


def _blob(fields: Fields) -> StoredBlob:
    return StoredBlob(digest=_digest(fields), size=fields.size("size"), media_type=fields.text("mediaType"))


def chunk_of(fields: Fields) -> Chunk:
    """Raises `InvalidDocument`."""
    chunk = Chunk(offset=fields.size("offset"), size=fields.size("size"), digest=_digest(fields))
    if not 0 < chunk.size <= CHUNK_SIZE:
        raise InvalidDocument(f"{fields.path}.size is not within 1 and {CHUNK_SIZE}")
    return chunk


def file_of(fields: Fields) -> IndexedFile:
    """Raises `InvalidDocument`."""
    size = fields.size("size")
    header = fields.optional_text("header")
    has_header = header is not None or fields.has("headerSize")
    file = IndexedFile(
        path=fields.text("path"),
        offset=fields.size("offset"),
        size=size,
        role=fields.text("role"),
        format=fields.optional_text("format"),
        digest=_digest(fields) if fields.has("digest") else None,
        header_size=fields.size("headerSize") if has_header else None,
        header=_base64(header, fields) if header is not None else None,
        tensors=tuple(_tensor(f) for f in fields.objects("tensors")),
    )
    if not _is_normal(file.path):
        raise InvalidDocument(f"{fields.path}.path is not a relative path")
    if file.header is not None and len(file.header) != file.header_size:
        raise InvalidDocument(f"{fields.path}.header has not headerSize bytes")
    if (file.header_size or 0) > size:
        raise InvalidDocument(f"{fields.path}.headerSize is beyond the end of the file")
    _check_order(file.tensors, f"{fields.path}.tensors", size, start=file.header_size or 0)
    _check_unique([t.name for t in file.tensors], f"{fields.path}.tensors")
    return file


def _tensor_to_dict(t: Tensor) -> dict[str, Any]:
    return {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "offset": t.offset, "size": t.size}


def _tensor(fields: Fields) -> Tensor:
    return Tensor(
        name=fields.text("name"),
        dtype=fields.text("dtype"),
        shape=fields.sizes("shape"),
        offset=fields.size("offset"),
        size=fields.size("size"),
    )


def _check_order(parts: Sequence[IndexedFile | Tensor], path: str, end: int, start: int = 0) -> None:
    """Parts lie within `[start, end)`, one after the other."""
    position = start
    for i, part in enumerate(parts):
        if part.offset < position:
            raise InvalidDocument(f"{path}[{i}] begins before byte {position}, where what precedes it ends")
        position = part.offset + part.size
        if position > end:
            raise InvalidDocument(f"{path}[{i}] ends at byte {position}, beyond byte {end}")


def _check_unique(names: Sequence[str], path: str) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InvalidDocument(f"{path}: {twice!r} is there twice")


def _required(fields: Fields, name: str) -> list[Fields]:
    if not fields.has(name):
        raise InvalidDocument(f"{fields.path}.{name} is missing")
    return fields.objects(name)


def _is_normal(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _digest(fields: Fields) -> Digest:
    try:
        return Digest.parse(fields.text("digest"))
    except InvalidDigest as e:
        raise InvalidDocument(f"{fields.path}.digest: {e}") from None


def _base64(text: str, fields: Fields) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidDocument(f"{fields.path}.header is not base64") from None
