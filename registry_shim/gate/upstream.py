"""Images as the mirror has them: documents, signatures and blobs through its cache, so that what was decided with the
upstream can be decided again without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from modelcar.cache.lease import Lease, Leases, Purpose
from modelcar.cache.origin import Origin
from modelcar.cache.reading import arrival, content
from modelcar.errors import InvalidDocument, RemoteNotFound, WorldError
from modelcar.oci import Descriptor, Digest, Index, Manifest, parse_manifest
from modelcar.signing.places import Place
from registry_shim.mirror.mirror import Library

__all__ = ["LibraryPlace", "MirrorBlobs"]

_PATIENCE: Final = 120.0  # seconds that a small blob may take


class MirrorBlobs:
    """Blobs of upstreams, cut as the mirror cuts them. Not for the event loop, which has to run meanwhile."""

    def __init__(self, library: Library, leases: Leases, loop: asyncio.AbstractEventLoop) -> None:
        self._library = library
        self._leases = leases
        self._loop = loop

    def lease(self, origin: Origin, descriptor: Descriptor, purpose: Purpose) -> Lease:
        """Raises as the upstream does, if it is not there or may not be read."""
        part = self._library.blobs.find(origin, descriptor.digest)
        grid = asyncio.run_coroutine_threadsafe(self._library.tables.grid(origin, part), self._loop).result()
        return self._leases.lease(origin, descriptor, grid=grid, purpose=purpose)

    def place(self, origin: Origin) -> Place:
        return LibraryPlace(self._library, self.lease, origin)


class LibraryPlace:
    """A repository of an upstream as a place that is read only."""

    def __init__(self, library: Library, lease: Callable[[Origin, Descriptor, Purpose], Lease], origin: Origin) -> None:
        self._library = library
        self._lease = lease
        self._origin = origin

    @property
    def repository(self) -> str:
        return self._origin.name

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        kept = self._library.manifests.find(self._origin, descriptor.digest).kept
        descriptor.check(kept.content)
        return parse_manifest(kept.content, descriptor.media_type)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        if descriptor.size > limit:
            size = descriptor.size
            raise InvalidDocument(f"{descriptor.digest} has {size} bytes, more than the {limit} that are read")
        found = b""
        if descriptor.size:
            with self._lease(self._origin, descriptor, Purpose.PULL) as lease:
                try:
                    arrival(lease, _PATIENCE)
                except TimeoutError:
                    raise WorldError(f"{descriptor.digest} did not arrive within {_PATIENCE:g} seconds") from None
                found = content(lease)
        descriptor.check(found)
        return found

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        return self._library.lists.referrers(self._origin, subject).entries

    def tagged(self, tag: str) -> Manifest | None:
        try:
            kept = self._library.manifests.find(self._origin, tag).kept
        except RemoteNotFound:
            return None
        document = parse_manifest(kept.content, kept.descriptor.media_type)
        return document if isinstance(document, Manifest) else None

    def put_blob(self, media_type: str, content: bytes) -> Descriptor:
        raise NotImplementedError

    def attach(self, manifest: Manifest) -> None:
        raise NotImplementedError

    def tag(self, tag: str, subject: Digest, image: Manifest, *, replaces: Digest | None) -> bool:
        raise NotImplementedError
