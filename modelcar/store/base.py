"""What every content store can do. `tests/contracts/test_store.py` says precisely what the words mean."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from modelcar.errors import InvalidDocument
from modelcar.layers.bytemap import ByteMap, ByteReader
from modelcar.oci import Descriptor, Digest

__all__ = ["Layout", "Store", "Writer", "check_readable", "read_document", "write_document"]

_MAX_IN_MEMORY = 512 << 20  # bytes; a model index with its tar around it is the largest that is read whole


class Writer(Protocol):
    """New content on its way in. Invisible until `commit`; leaving the `with` block without it aborts."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises `StorageError` (disk full, say), after which only `abort` makes sense."""

    def commit(self, digest: Digest | None = None) -> Digest:
        """Check what was written against `digest` (or the one `begin` was told), make it durable, then visible.

        Raises:
            DigestMismatch: the content is another; nothing becomes visible.
        """

    def abort(self) -> None:
        """Forget what was written. Does nothing after a commit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Content by digest. What is there is complete and hashed to its digest when it came in."""

    def __contains__(self, digest: Digest) -> bool: ...

    def size(self, digest: Digest) -> int:
        """Bytes of this blob. Raises `NotFound`."""

    def map(self, digest: Digest) -> ByteMap:
        """What this blob is made of, for consumers that let the kernel move it. Raises `NotFound`."""

    def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> ByteReader:
        """A reader of `[offset, offset + length)`. Raises `NotFound`; `ValueError` for a range outside the blob."""

    def begin(self, expected: Digest | None = None) -> Writer:
        """Start writing a blob; `expected` is what `commit` checks unless told otherwise."""

    def delete(self, digest: Digest) -> None:
        """Remove this blob. Raises `NotFound`."""


class Layout(Store, Protocol):
    """An OCI image layout: a store with an `index.json`, which `Names` reads and edits."""

    @property
    def root(self) -> Path:
        """The folder or file that it is."""

    @property
    def location(self) -> str:
        """How people name it: `oci:DIR` or `oci-archive:FILE`."""

    def read_index(self) -> bytes:
        """Raises `NotFound` if there is no index, `StorageError` if it cannot be read."""

    def write_index(self, content: bytes) -> None:
        """Replace the index so that readers see the old one or the new one. The caller holds `locked()`."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep other edits of the index out."""


def read_document(store: Store, descriptor: Descriptor) -> bytes:
    """A manifest's or config's bytes, checked against size and digest (they are small, and decide what is trusted).

    Raises:
        NotFound: it is not in the store.
        InvalidContent: it is not what the descriptor promises.
    """
    check_readable(descriptor)
    with store.open(descriptor.digest) as reader:
        content = reader.read(min(reader.remaining, descriptor.size + 1))
    descriptor.check(content)
    return content


def check_readable(descriptor: Descriptor) -> None:
    """Raise `InvalidDocument` unless the content is small enough to be held in memory."""
    if descriptor.size > _MAX_IN_MEMORY:
        raise InvalidDocument(f"{descriptor.digest} has {descriptor.size} bytes, too many to be read at once")


def write_document(store: Store, content: bytes, digest: Digest | None = None) -> Digest:
    """Put `content` into the store unless it is there already."""
    digest = digest or Digest.of(content)
    if digest not in store:
        with store.begin(digest) as writer:
            writer.write(content)
            writer.commit()
    return digest
