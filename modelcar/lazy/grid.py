"""How a blob is cut into chunks: the unit in which it is fetched, verified, remembered and shared."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from modelcar.errors import DigestMismatch, InvalidDigest, InvalidDocument
from modelcar.layers.chunktable import ChunkTable
from modelcar.layers.hashing import CHUNK_SIZE, Chunk
from modelcar.layers.index import IndexedLayer
from modelcar.oci import Digest, compact_json
from modelcar.oci.document import Fields, parse_object

__all__ = ["Grid"]

_MAX_TABLE: Final = 64 << 20  # bytes of JSON; a layer of 1 TB needs half of it


@dataclass(frozen=True, slots=True)
class Grid:
    """The chunks of the blob `digest` of `size` bytes: they tile it, in order.

    With a model index every chunk has a digest and can be verified alone (`table`). Without one the blob is cut evenly,
    and only the whole can be verified. Two grids of one blob are two things: what was accepted under one table, which
    its publisher may have made up, says nothing to readers of another.
    """

    digest: Digest
    size: int
    table: Sequence[Chunk] | None = None
    _starts: Sequence[int] = field(default=(), repr=False, compare=False)
    _name: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        given = self.table
        table = given if given is None or isinstance(given, ChunkTable) else ChunkTable(given)
        starts = table.starts if table else range(0, self.size, CHUNK_SIZE)
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "_name", _name(table))

    @classmethod
    def plain(cls, digest: Digest, size: int) -> Self:
        """The grid of a blob that no index describes."""
        return cls(digest, size)

    @classmethod
    def of_layer(cls, layer: IndexedLayer) -> Self:
        return cls(layer.digest, layer.size, layer.chunks)

    @property
    def verifiable(self) -> bool:
        """Whether every chunk can be verified alone."""
        return self.table is not None

    @property
    def name(self) -> str:
        """Tells the grids of one blob apart: `plain`, or the beginning of the table's digest."""
        return self._name

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self._starts)

    def bounds(self, number: int) -> tuple[int, int]:
        """Offset and size of a chunk in bytes."""
        start = self._starts[number]
        stop = self._starts[number + 1] if number + 1 < len(self._starts) else self.size
        return start, stop - start

    def at(self, offset: int) -> int:
        """The number of the chunk that byte `offset` lies in."""
        if not 0 <= offset < self.size:
            raise ValueError(f"byte {offset} is not within {self.size}")
        return bisect_right(self._starts, offset) - 1

    def numbers(self, offset: int, length: int) -> range:
        """The chunks that `[offset, offset + length)` touches."""
        if not 0 <= offset <= offset + length <= self.size:
            raise ValueError(f"range {offset}-{offset + length} is not within {self.size} bytes")
        return range(self.at(offset), self.at(offset + length - 1) + 1) if length else range(0)

    def check(self, number: int, data: bytes | bytearray | memoryview) -> None:
        """Raise `DigestMismatch` unless `data` can be chunk `number`: its size, and its digest where there is one."""
        offset, size = self.bounds(number)
        if len(data) != size:
            raise DigestMismatch(f"chunk {number} of {self.digest} has {size} bytes, not {len(data)}")
        if self.table is not None:
            found = self.table[number].digest.hasher()
            found.update(data)
            if found.hexdigest() != self.table[number].digest.hex:
                raise DigestMismatch(f"bytes {offset}-{offset + size - 1} of {self.digest} are not what its index says")

    def to_json(self) -> bytes:
        """As it is kept beside the chunks on disk, and told to peers."""
        document: dict[str, Any] = {"digest": str(self.digest), "size": self.size}
        if self.table is not None:
            document["chunks"] = [[c.size, str(c.digest)] for c in self.table]
        return compact_json(document)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises `InvalidDocument` for what is not a grid."""
        document = parse_object(raw, "chunk table", limit=_MAX_TABLE)
        fields = Fields(document, "table")
        try:
            digest, size = Digest.parse(fields.text("digest")), fields.size("size")
            table = ChunkTable(_chunks(document["chunks"])) if "chunks" in document else None
        except (ValueError, TypeError, InvalidDigest) as e:
            raise InvalidDocument(f"chunk table: {e}") from None
        if table is not None and table.size != size:
            raise InvalidDocument(f"chunk table of {digest} does not cover its {size} bytes")
        return cls(digest, size, table)


def _name(table: Sequence[Chunk] | None) -> str:
    if table is None:
        return "plain"
    whole = hashlib.sha256()
    for chunk in table:
        whole.update(f"{chunk.offset} {chunk.size} {chunk.digest}\n".encode())
    return whole.hexdigest()[:16]


def _chunks(entries: list[Any]) -> Iterator[Chunk]:
    offset = 0
    for size, digest in entries:
        if not isinstance(size, int) or not 0 < size <= CHUNK_SIZE:
            raise ValueError(f"a chunk has 1 to {CHUNK_SIZE} bytes")
        yield Chunk(offset=offset, size=size, digest=Digest.parse(digest))
        offset += size
