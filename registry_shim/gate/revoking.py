"""Taking back what was served: whoever is still sent it is cut off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Container, Iterable
from typing import Protocol

from modelcar.cache.origin import Origin
from modelcar.errors import Denied, ModelcarError
from modelcar.oci import Digest
from modelcar.scanning.findings import Outcome
from registry_shim.gate.lineage import Lineage
from registry_shim.gate.policybook import Page
from registry_shim.gate.ruling import Ruling
from registry_shim.gate.verdicts import VerdictStore

__all__ = ["Revocations", "RevokedBlobs"]

_log = logging.getLogger("registry_shim.gate")


class RevokedBlobs(Protocol):
    """The cache, as far as it is needed here. Methods may touch the disk."""

    def revoke(self, digest: Digest, error: ModelcarError) -> None:
        """Cut off whoever reads the blob, with `error`; delete it; have it never again until `allow`."""

    def allow(self, digest: Digest) -> None:
        """It may be had again. Does nothing for what was not revoked."""


class Revocations:
    """Methods block unless they say otherwise; safe to use from several threads.

    Attributes:
        evil: layers that a scan of this node found malicious, each with what people are told.
    """

    def __init__(self, blobs: RevokedBlobs, lineage: Lineage, verdicts: VerdictStore) -> None:
        self._blobs = blobs
        self._lineage = lineage
        self._lock = threading.Lock()
        self._denied: Container[Digest] = ()
        self.evil: dict[Digest, str] = {}
        for verdict in verdicts.all():
            if verdict.outcome is Outcome.MALICIOUS and verdict.reasons:
                self.evil |= dict.fromkeys(verdict.layers, f"this node found it malicious: {verdict.reasons[0]}")

    def apply(self, before: Page, now: Page) -> None:
        """Cut off what the node's deny-lists name now, and take back what they named before."""
        with self._lock:
            self._denied = now.denied
            for digest in before.denied.keys() - now.denied.keys() - self.evil.keys():
                self._blobs.allow(digest)
            for digest in now.denied.keys() - before.denied.keys():
                self._revoke(digest, Denied(f"{digest} is not served by this node: {now.denied[digest]}"))

    def note(self, ruling: Ruling) -> None:
        """From now on nobody is sent the layers that a scan found malicious. Does not block."""
        self.evil |= dict.fromkeys(ruling.evil, ruling.reasons[0])

    def doubt(self, layers: Iterable[Digest]) -> None:
        """They are to be scanned again, and therefore fetched; nobody is sent them meanwhile."""
        with self._lock:
            for digest in layers:
                if digest not in self._denied:
                    self._blobs.allow(digest)

    def clear(self, layers: Iterable[Digest], still: Container[Digest] = ()) -> None:
        """What a scan had found no longer counts, but for `still`."""
        for digest in layers:
            if digest not in still and self.evil.pop(digest, None) is not None and digest not in self._denied:
                self._blobs.allow(digest)

    def cut(self, origin: Origin, ruling: Ruling, served: Container[tuple[str, Digest]]) -> int:
        """Cut off the pulls of an image; returns of how many blobs. Malicious layers are gone for good; others only
        where no image lists them that is among `served`, and they may be had again by images to come."""
        error = ruling.refusal()
        with self._lock:
            known = self._lineage.get(origin, ruling.digest)
            harmless = sorted((known.blobs if known else frozenset()) - set(ruling.evil), key=str)
            cut = 0
            for digest in ruling.evil:
                cut += self._revoke(digest, error)
            for digest in harmless:
                if known and any(other.key in served for other in self._lineage.others(known, digest)):
                    continue
                cut += self._revoke(digest, error)
                if digest not in self._denied:
                    self._blobs.allow(digest)
            return cut

    def _revoke(self, digest: Digest, error: Denied) -> int:
        try:
            self._blobs.revoke(digest, error)
        except ModelcarError as e:
            _log.error("%s cannot be removed: %s", digest, e)
            return 0
        return 1
