"""The doors of pre-caching, as a running node has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from modelcar.cache.cache import Cache
from modelcar.cache.lease import Lease, Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import Denied, Forbidden, RemoteNotFound, Unauthorized, UsageError
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.oci import Descriptor, Digest, Reference
from registry_shim.distribution.errors import DistributionError
from registry_shim.engines.importing import Importer
from registry_shim.gate.gate import Gate
from registry_shim.gate.upstream import MirrorBlobs
from registry_shim.mirror.mirror import Library
from registry_shim.mirror.upstreams import Upstreams
from registry_shim.precache.doors import Presence

__all__ = ["GateGuard", "MirrorImages", "StoreImporter"]


class MirrorImages:
    """`Images` over the mirror. Not for the event loop, which has to run meanwhile."""

    def __init__(self, upstreams: Upstreams, library: Library, cache: Cache, loop: asyncio.AbstractEventLoop) -> None:
        self._upstreams = upstreams
        self._library = library
        self._cache = cache
        self._blobs = MirrorBlobs(library, cache, loop)

    def origin(self, reference: Reference) -> Origin:
        if reference.registry not in self._upstreams:
            raise UsageError(
                f"{reference.registry} is not one of this node's upstreams", hint="serve --upstream, or `upstreams`"
            )
        try:
            anybody = self._library.gatekeeper.identify(reference.registry, reference.repository, "")
        except DistributionError as e:
            raise Denied(str(e), hint="add it to `repositories` of this upstream") from None
        own = Origin(registry=reference.registry, repository=reference.repository)
        if anybody == own and anybody.authorization is None:
            return own
        try:
            self._library.manifests.find(anybody, reference.digest or reference.tag or "")
        except (Unauthorized, Forbidden, RemoteNotFound):
            return own
        return anybody

    def manifest(self, origin: Origin, target: str | Digest) -> tuple[Descriptor, bytes]:
        kept = self._library.manifests.find(origin, target).kept
        return kept.descriptor, kept.content

    def attachments(self, origin: Origin, digest: Digest) -> None:
        self._library.attachments.fetch(origin, digest)

    def lease(self, origin: Origin, blob: Descriptor) -> Lease:
        return self._blobs.lease(origin, blob, Purpose.PRECACHE)

    def presence(self, digest: Digest) -> Presence:
        if self._cache.contains(digest):
            size = self._cache.layout.size(digest)
            chunks = -(-size // CHUNK_SIZE)
            return Presence(size=size, chunks=chunks, chunks_in_all=chunks, whole=True)
        best = max((s for s in self._cache.status() if s.digest == digest), key=lambda s: s.present, default=None)
        if best is None:
            return Presence(size=0)
        here = len(best.chunks) - best.chunks.count(0)
        return Presence(size=best.present, chunks=here, chunks_in_all=len(best.chunks))


class GateGuard:
    """`Guard` over the gate, which lives on the event loop."""

    def __init__(self, gate: Gate, loop: asyncio.AbstractEventLoop) -> None:
        self._gate = gate
        self._loop = loop

    def foresee(self, origin: Origin, descriptor: Descriptor) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(self._gate.foresee(origin, descriptor), self._loop)

    def ready(self, origin: Origin, descriptor: Descriptor) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(self._gate.ready(origin, descriptor), self._loop)


class StoreImporter:
    """`Importer` that shares the shim's own files with the engine."""

    def __init__(self, importer: Importer, cache: Cache) -> None:
        self._importer = importer
        self._cache = cache

    def __call__(self, reference: Reference, parts: Sequence[Digest], /) -> None:
        blobs = {digest: self._cache.layout.path(digest) for digest in parts}
        self._importer.import_image(str(reference), blobs=blobs)
