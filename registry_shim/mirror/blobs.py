"""Blobs: which repository has which, and who may read it. Their bytes are the cache's.

The cache holds content by digest, whatever repository it came from, so a blob leaves only from a repository whose
upstream has said that it is there: to a client with the permissions of this one's, or to anybody. That a manifest lists
it is no proof; anybody may write one.
"""

from __future__ import annotations

import copy
import logging
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidContent, RegistryError, RemoteNotFound, SizeMismatch
from modelcar.oci import Descriptor, Digest
from modelcar.registry import Registry
from registry_shim.mirror.access import Gatekeeper
from registry_shim.mirror.facts import Facts
from registry_shim.mirror.images import Images, Part
from registry_shim.mirror.memory import Memory
from registry_shim.mirror.settings import MirrorSettings
from registry_shim.mirror.upstreams import Upstreams

__all__ = ["Blobs"]

_UNTYPED: Final = "application/octet-stream"
_log = logging.getLogger("registry_shim.mirror")


class Blobs:
    """Blocks while it asks an upstream; safe to share between threads."""

    def __init__(
        self,
        settings: MirrorSettings,
        upstreams: Upstreams,
        facts: Facts,
        gatekeeper: Gatekeeper,
        images: Images,
    ) -> None:
        self._upstreams = upstreams
        self._facts = facts
        self._gatekeeper = gatekeeper
        self._images = images
        self._proven: Memory[tuple[str, Digest], bool] = Memory(2 * settings.remembered, float("inf"))
        self._missing: Memory[tuple[str, Digest, str | None], RemoteNotFound] = Memory(
            settings.remembered, settings.missing_seconds
        )

    def at_hand(self, origin: Origin, digest: Digest) -> Part | None:
        """The answer if nobody need be asked for it; never waits."""
        if self._proven.get((origin.name, digest)) is None or not self._gatekeeper.granted(origin):
            return None
        return self._images.remembered(origin, digest)

    def find(self, origin: Origin, digest: Digest) -> Part:
        """A blob of this repository, once it is certain that it is there and `origin` may be read.

        Raises:
            RegistryError: it is not, or may not, or that cannot be told at the moment.
            SizeMismatch: it is not what a manifest says.
        """
        known = self._known(origin, digest)
        if known is not None and self._gatekeeper.granted(origin):
            return known
        self._gatekeeper.check_refused(origin)
        key = (origin.name, digest, origin.authorization)
        if (missing := self._missing.get(key)) is not None:
            raise copy.copy(missing)
        try:
            size = self._ask(origin, digest)
        except (RegistryError, InvalidContent) as e:
            if isinstance(e, RemoteNotFound):
                self._missing.put(key, copy.copy(e))
            return self._without(origin, known, e)
        self._gatekeeper.grant(origin)
        return self._prove(origin, digest, size)

    def _known(self, origin: Origin, digest: Digest) -> Part | None:
        """What is known of a blob that is known to be there."""
        proven = self._proven.get((origin.name, digest)) or self._facts.repository(origin).has_blob(digest)
        if not proven:
            return None
        part = self._images.find(origin, digest)
        if part is None and (size := self._facts.blob_size(origin, digest)) is not None:
            part = Part(Descriptor(media_type=_UNTYPED, digest=digest, size=size))
            self._images.add(origin, part)
        if part is not None:
            self._proven.put((origin.name, digest), True)
        return part

    def _ask(self, origin: Origin, digest: Digest) -> int:
        ref = origin.reference(digest=digest)

        def ask(client: Registry) -> int:
            size = client.blob_size(ref, digest)
            if size is None:
                raise RemoteNotFound(f"{digest} is not in {origin}", status=404)
            return size

        return self._upstreams[origin.registry].ask(origin, ask)

    def _without(self, origin: Origin, known: Part | None, error: RegistryError | InvalidContent) -> Part:
        if known is not None and isinstance(error, RemoteNotFound):
            self._gatekeeper.doubt(origin)
        self._gatekeeper.stand_in(origin, error, known=known is not None)
        if known is None:
            raise error
        _log.info("%s: serving %s unasked, because %s", origin, known.descriptor.digest, error)
        return known

    def _prove(self, origin: Origin, digest: Digest, size: int) -> Part:
        part = self._images.find(origin, digest)
        if part is None:
            part = Part(Descriptor(media_type=_UNTYPED, digest=digest, size=size))
            self._facts.set_blob_size(origin, digest, size)
        if part.descriptor.size != size:
            promised = part.descriptor.size
            raise SizeMismatch(f"{origin}: {digest} has {size} bytes where a manifest there promises {promised}")
        self._facts.repository(origin).link_blob(digest)
        self._images.add(origin, part)
        self._proven.put((origin.name, digest), True)
        return part
