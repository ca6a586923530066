"""Gathering what lies beside a manifest. All of it is untrusted, and none of it can hide the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from modelcar.errors import InvalidContent, InvalidDocument, NotFound, RemoteNotFound
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.registry.cancel import run_parallel
from modelcar.signing.bundle import MAX_BUNDLE, is_bundle_type, parse_bundle
from modelcar.signing.places import Place
from modelcar.signing.simplesigning import attestation_tag, parse_attestation, parse_signature, signature_tag
from modelcar.signing.verified import Bundle, Evidence

__all__ = ["gather_evidence"]

T = TypeVar("T")

_MAX_PIECES: Final = 200  # referrers that may hold a bundle, or layers of a `.sig` or `.att` image, of one manifest
_MAX_BYTES: Final = 96 << 20  # of all evidence about one manifest
_WORKERS: Final = 4
_UNREADABLE: Final = (InvalidContent, NotFound, RemoteNotFound)
# Clients that write the index of a registry without referrers API put other things where the artifact type belongs.
_VAGUE: Final = (None, media_types.EMPTY)


def gather_evidence(place: Place, digest: Digest) -> Evidence:
    """Everything at `place` that claims to speak about `digest`: bundles, legacy signatures, legacy attestations.

    What is damaged, missing or beyond the bounds becomes a line of `unreadable`.

    Raises:
        WorldError: the place cannot be read. What cannot be looked for is not therefore absent.
    """
    gatherer = _Gatherer(place, digest)
    return Evidence(
        bundles=gatherer.bundles(),
        simple=gatherer.tagged(signature_tag(digest), parse_signature),
        envelopes=gatherer.tagged(attestation_tag(digest), parse_attestation),
        unreadable=tuple(gatherer.unreadable),
    )


class _Gatherer:
    def __init__(self, place: Place, digest: Digest) -> None:
        self._place = place
        self._digest = digest
        self._left = _MAX_BYTES
        self._lock = threading.Lock()
        self.unreadable: list[str] = []

    def bundles(self) -> tuple[Bundle, ...]:
        listed = [d for d in self._place.referrers(self._digest) if _may_hold_bundle(d)]
        listed.sort(key=lambda d: d.artifact_type in _VAGUE)  # so that what says nothing cannot crowd out what does
        return self._read("referrer", listed, self._bundle)

    def tagged(self, tag: str, parse: Callable[[Descriptor, bytes], T]) -> tuple[T, ...]:
        """What the layers of the image at `tag` hold."""
        try:
            image = self._place.tagged(tag)
        except InvalidContent as e:
            self.unreadable.append(f"{tag[-4:]} tag: {e}")
            return ()
        layers = image.layers if image is not None else ()
        return self._read(f"{tag[-4:]} layer", layers, lambda layer: parse(layer, self._blob(layer)))

    def _read(
        self, what: str, descriptors: Sequence[Descriptor], read: Callable[[Descriptor], T | None]
    ) -> tuple[T, ...]:
        """Read all, several at once, in the order in which they are listed."""
        found: dict[int, T] = {}

        def attempt(i: int, descriptor: Descriptor) -> None:
            try:
                piece = read(descriptor)
            except _UNREADABLE as e:
                self.unreadable.append(f"{what} {descriptor.digest.short}: {e}")
            else:
                if piece is not None:
                    found[i] = piece

        run_parallel([partial(attempt, i, d) for i, d in enumerate(descriptors[:_MAX_PIECES])], _WORKERS)
        if (more := len(descriptors) - _MAX_PIECES) > 0:
            self.unreadable.append(f"{what}: {more} more than the {_MAX_PIECES} that are read")
        return tuple(found[i] for i in sorted(found))

    def _bundle(self, referrer: Descriptor) -> Bundle | None:
        manifest = self._place.document(referrer)
        if not isinstance(manifest, Manifest) or not any(is_bundle_type(layer.media_type) for layer in manifest.layers):
            return None
        if manifest.subject is None or manifest.subject.digest != self._digest:
            raise InvalidDocument("it does not refer to this manifest")
        if len(manifest.layers) != 1:
            raise InvalidDocument(f"it has {len(manifest.layers)} layers where one bundle belongs")
        return parse_bundle(self._blob(manifest.layers[0]))

    def _blob(self, descriptor: Descriptor) -> bytes:
        with self._lock:
            if descriptor.size > self._left:
                raise InvalidDocument(f"all evidence together exceeds {_MAX_BYTES >> 20} MiB")
            self._left -= descriptor.size
        return self._place.blob(descriptor, MAX_BUNDLE)


def _may_hold_bundle(referrer: Descriptor) -> bool:
    return referrer.artifact_type in _VAGUE or is_bundle_type(referrer.artifact_type or "")
