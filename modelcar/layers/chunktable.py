"""The chunks of a blob in little memory: a model of a terabyte has a quarter of a million of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from modelcar.errors import InvalidDocument
from modelcar.layers.hashing import Chunk
from modelcar.oci import Digest

__all__ = ["ChunkTable"]


class ChunkTable(Sequence[Chunk]):
    """Chunks that tile `[0, size)`, in order. Immutable; about 40 bytes for each.

    Attributes:
        starts: the offset of each.
        size: where the last one ends.
    """

    __slots__ = ("_algorithm", "_digests", "_width", "size", "starts")

    def __init__(self, chunks: Iterable[Chunk], path: str = "chunks") -> None:
        """
        Raises:
            InvalidDocument: there is a gap, an overlap or an empty one, or their digests are of two kinds; with `path`.
        """
        self.starts: array[int] = array("Q")
        self.size = 0
        self._algorithm = ""
        digests = bytearray()
        for number, chunk in enumerate(chunks):
            if chunk.offset != self.size:
                raise InvalidDocument(f"{path}[{number}] does not begin where the one before it ends")
            if chunk.size <= 0:
                raise InvalidDocument(f"{path}[{number}] is empty")
            self._algorithm = self._algorithm or chunk.digest.algorithm
            if chunk.digest.algorithm != self._algorithm:
                raise InvalidDocument(f"{path}[{number}].digest is of another kind than those before it")
            self.starts.append(chunk.offset)
            digests += bytes.fromhex(chunk.digest.hex)
            self.size += chunk.size
        self._digests = bytes(digests)
        self._width = len(digests) // len(self.starts) if self.starts else 0

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Chunk, ...]: ...
    def __getitem__(self, index: int | slice) -> Chunk | tuple[Chunk, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        number = index if index >= 0 else len(self) + index
        if not 0 <= number < len(self):
            raise IndexError(index)
        start = self.starts[number]
        stop = self.starts[number + 1] if number + 1 < len(self) else self.size
        digest = self._digests[number * self._width : (number + 1) * self._width]
        return Chunk(offset=start, size=stop - start, digest=Digest(self._algorithm, digest.hex()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChunkTable):
            return NotImplemented
        return self._key == other._key and self.starts == other.starts

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<{len(self)} chunks of {self.size} bytes>"

    @property
    def _key(self) -> tuple[int, str, bytes]:
        return self.size, self._algorithm, self._digests
