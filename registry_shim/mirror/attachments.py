"""What signs or describes an image is fetched along with it, so that it can be verified once its upstream is gone."""

from __future__ import annotations

import logging
import re
import threading
from contextlib import suppress
from typing import Final

from modelcar.cache.lease import Leases, Purpose
from modelcar.cache.origin import Origin
from modelcar.cache.reading import arrival
from modelcar.errors import ModelcarError, RemoteNotFound
from modelcar.oci import Descriptor, Digest, Manifest, parse_manifest
from modelcar.oci.media_types import INDEXES, MANIFESTS
from modelcar.registry.cancel import Cancelled
from registry_shim.mirror.blobs import Blobs
from registry_shim.mirror.lists import Lists
from registry_shim.mirror.manifests import Found, Manifests
from registry_shim.mirror.pool import Pool

__all__ = ["Attachments"]

_SUFFIXES: Final = (".sig", ".att")
_TAG: Final = re.compile(r"sha256-[0-9a-f]{64}(?:\.[a-z]+)?")
_LARGEST: Final = 4 << 20  # bytes of a blob; bundles and SBOMs are small, and what is not is fetched when asked for
_MOST: Final = 32  # referrers of one manifest
_QUEUE: Final = 1000
_PATIENCE: Final = 60.0  # seconds for one blob
_log = logging.getLogger("registry_shim.mirror")


class Attachments:
    """Works in a thread of its own, one image after the other. Close it."""

    def __init__(self, manifests: Manifests, lists: Lists, blobs: Blobs, leases: Leases) -> None:
        self._manifests, self._lists, self._blobs, self._leases = manifests, lists, blobs, leases
        self._thread = Pool(1, "attachments")
        self._lock = threading.Lock()
        self._waiting: set[tuple[str, Digest]] = set()

    def begin(self, origin: Origin, target: str | Digest, found: Found) -> None:
        """Fetch what belongs to an image that has just come in; nothing for what is itself attached to another."""
        attached = found.kept.subject is not None or (isinstance(target, str) and _TAG.fullmatch(target))
        key = (origin.name, found.descriptor.digest)
        if found.source != "miss" or attached or found.descriptor.media_type not in INDEXES | MANIFESTS:
            return
        with self._lock:
            if key in self._waiting or len(self._waiting) >= _QUEUE:
                return
            self._waiting.add(key)
        with suppress(RuntimeError):  # it is being closed
            self._thread.submit(self._run, origin, found.descriptor.digest)

    def fetch(self, origin: Origin, digest: Digest) -> None:
        """All that is attached to a manifest, as far as there is any. Blocks.

        Raises:
            RegistryError, InvalidContent, StorageError: as a pull of it would be told.
        """
        referrers = self._lists.referrers(origin, digest).entries[:_MOST]
        targets: list[str | Digest] = [referrer.digest for referrer in referrers]
        targets += [f"{digest.algorithm}-{digest.hex}{suffix}" for suffix in _SUFFIXES]
        for target in targets:
            with suppress(RemoteNotFound):  # there is no such tag, or the list is older than what it lists
                self._fetch(origin, target)

    def close(self) -> None:
        self._thread.close()

    def _run(self, origin: Origin, digest: Digest) -> None:
        try:
            self.fetch(origin, digest)
        except Cancelled:
            pass
        except (ModelcarError, TimeoutError) as e:
            _log.info("%s: what is attached to %s is not all here: %s", origin, digest, e)
        finally:
            with self._lock:
                self._waiting.discard((origin.name, digest))

    def _fetch(self, origin: Origin, target: str | Digest) -> None:
        kept = self._manifests.find(origin, target).kept
        document = parse_manifest(kept.content, kept.descriptor.media_type)
        for blob in document.blobs if isinstance(document, Manifest) else ():
            if 0 < blob.size <= _LARGEST:
                self._bring(origin, blob)

    def _bring(self, origin: Origin, blob: Descriptor) -> None:
        part = self._blobs.find(origin, blob.digest)
        with self._leases.lease(origin, part.descriptor, purpose=Purpose.PULL) as lease:
            arrival(lease, _PATIENCE)
