"""What pre-caching asks of the other parts of a node. All of it blocks, and may be called from any thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from modelcar.cache.lease import Lease
from modelcar.cache.origin import Origin
from modelcar.oci import Descriptor, Digest, Reference

__all__ = ["Doors", "Guard", "Images", "Importer", "Presence", "Room", "Throttle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """How much of a blob is here: bytes and chunks; `whole` once all of it was checked and is in the store."""

    size: int
    chunks: int = 0
    chunks_in_all: int = 0
    whole: bool = False


class Images(Protocol):
    """The mirror and its cache, with the node's own credentials."""

    def origin(self, reference: Reference) -> Origin:
        """In whose name an image is fetched: anybody's where that suffices, so that it is known to be public; else the
        node's own.

        Raises:
            RegistryError, InvalidContent, StorageError: as a pull would be told.
            UsageError: its registry is not one of the upstreams.
            Denied: this node may not serve it.
        """

    def manifest(self, origin: Origin, target: str | Digest) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest; known from now on as if a client had pulled it. Raises what `origin`
        does."""

    def attachments(self, origin: Origin, digest: Digest) -> None:
        """Fetch what signs or describes a manifest, as far as there is any. Raises what `origin` does."""

    def lease(self, origin: Origin, blob: Descriptor) -> Lease:
        """Have a blob fetched, after everything that somebody waits for. Raises what `origin` does."""

    def presence(self, digest: Digest) -> Presence:
        """How much of a blob is here."""


class Room(Protocol):
    """The space of the node."""

    def reserved(self, sizes: Mapping[Digest, int]) -> AbstractContextManager[None]:
        """Room for blobs (bytes by digest), which are not evicted meanwhile. Raises `StorageError`."""

    def pin(self, reference: Reference) -> object: ...

    def unpin(self, reference: Reference) -> None: ...


class Guard(Protocol):
    """The gate."""

    def foresee(self, origin: Origin, descriptor: Descriptor) -> Future[None]:
        """Fails with `Denied` if this image will not be served whatever its layers hold; nothing is fetched for it but
        its documents and signatures."""

    def ready(self, origin: Origin, descriptor: Descriptor) -> Future[None]:
        """Done once this image may be served and is not being scanned any more; fails with `Denied` if it may not."""


class Importer(Protocol):
    """The way into an engine's own store."""

    def __call__(self, reference: Reference, parts: Sequence[Digest], /) -> None:
        """`parts` are all of the image's blobs and manifests, which are here. Raises `ModelcarError`."""


class Throttle(Protocol):
    """How fast pre-caching fetches."""

    def __call__(self, rate: float | None, /) -> None:
        """Bytes per second; 0 holds it, `None` lifts the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    images: Images
    room: Room
    guard: Guard | None = None
    """`None`: everything may be served."""
    importer: Importer | None = None
    throttle: Throttle = lambda _rate: None
