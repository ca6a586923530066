"""A store in memory, for tests and small things."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from modelcar.errors import NotFound
from modelcar.layers.bytemap import ByteMap, ByteReader, Literal
from modelcar.oci import Digest

__all__ = ["MemoryStore"]


class MemoryStore:
    """`Store` in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, ByteMap] = {}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._blobs

    def size(self, digest: Digest) -> int:
        return self.map(digest).size

    def map(self, digest: Digest) -> ByteMap:
        try:
            return self._blobs[digest]
        except KeyError:
            raise NotFound(f"{digest} is not in the store") from None

    def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> ByteReader:
        return self.map(digest).open(offset, length)

    def begin(self, expected: Digest | None = None) -> _MemoryWriter:
        return _MemoryWriter(self._blobs, expected)

    def delete(self, digest: Digest) -> None:
        self.map(digest)
        del self._blobs[digest]


class _MemoryWriter:
    def __init__(self, blobs: dict[Digest, ByteMap], expected: Digest | None) -> None:
        self._blobs = blobs
        self._expected = expected
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._data += data

    def commit(self, digest: Digest | None = None) -> Digest:
        content = bytes(self._data)
        digest = digest or self._expected or Digest.of(content)
        digest.check(content, "what was written")
        self._blobs[digest] = ByteMap([Literal(content)])
        return digest

    def abort(self) -> None:
        self._data = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()
