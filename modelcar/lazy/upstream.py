"""Chunks from a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from modelcar.errors import (
    Forbidden,
    InvalidContent,
    ProtocolViolation,
    RegistryError,
    RemoteNotFound,
    Unauthorized,
    Unreachable,
)
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, SourceKind
from modelcar.oci import Descriptor, Digest, Reference, media_types
from modelcar.registry import BlobStream, Registry
from modelcar.registry.cancel import Cancelled, CancelScope, current_scope

__all__ = ["Offer", "RegistrySource"]

Offer = tuple[Registry, Reference]
"""A client, with the credentials to use, and a reference into a repository that may have the blob."""


class RegistrySource:
    """A `ChunkSource` over the registry client.

    `offers` is asked at every fetch, so that it may hand out fresh credentials: whoever may read the blob, in the
    order in which to try them. The clients should try a request once or twice only: a transfer has its own patience.
    """

    def __init__(
        self, name: str, offers: Callable[[Digest], Sequence[Offer]], kind: SourceKind = SourceKind.UPSTREAM
    ) -> None:
        self.name = name
        self.kind = kind
        self.serial = False
        self._offers = offers

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        scope = current_scope() or CancelScope()  # whoever cancels the thread's also ends what has not begun yet
        with _Stream(self._open(scope, grid, offset, length), scope, self.name) as stream:
            yield stream

    def _open(self, scope: CancelScope, grid: Grid, offset: int, length: int) -> BlobStream:
        blob = Descriptor(media_type=media_types.LAYER_TAR, digest=grid.digest, size=grid.size)
        refusal: RegistryError | None = None
        for registry, reference in self._offers(grid.digest):
            try:
                with _mapped(self.name), scope.active():
                    return registry.open_blob(reference, blob, offset, length, exact=not self.serial)
            except ProtocolViolation:
                self.serial = True  # or worse than that, which the next try will show
                raise
            except (Unauthorized, Forbidden, RemoteNotFound) as e:
                if refusal is None or isinstance(refusal, RemoteNotFound):
                    refusal = e
        raise refusal or RemoteNotFound(f"{self.name}: no repository is known to have {grid.digest}")


class _Stream:
    def __init__(self, blob: BlobStream, scope: CancelScope, name: str) -> None:
        self._blob, self._scope, self._name = blob, scope, name

    def read(self, n: int, /) -> bytes:
        with _mapped(self._name), self._scope.active():
            return self._blob.read(n)

    def close(self) -> None:
        self._scope.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blob.close()


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    """What a range of a blob can fail with, as what a `ChunkSource` raises."""
    try:
        yield
    except Cancelled:
        raise Unreachable(f"{name}: the connection was given up") from None
    except InvalidContent as e:  # another size than promised: nothing of it was used
        raise RegistryError(str(e), hint=e.hint) from None
