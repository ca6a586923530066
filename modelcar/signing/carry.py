"""Taking along what is attached to an image when the image moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from modelcar.errors import InvalidContent, InvalidDocument, NotFound, RemoteNotFound
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.signing.places import LayoutPlace, RegistryPlace, documents
from modelcar.store.transfer import copy_image

__all__ = ["Carried", "carry_attachments"]

_SUFFIXES: Final = (".sig", ".att", ".sbom")
_MAX_REFERRERS: Final = 1000  # of one manifest
_MAX_SIZE: Final = 1 << 30  # bytes of one attachment; an SBOM or a scan report, not another model
_MAX_DEPTH: Final = 3  # an SBOM may be signed, and that signature time-stamped


@dataclass
class Carried:
    """How many attachments were copied or were there already, and a line for each that was not."""

    count: int = 0
    skipped: list[str] = field(default_factory=list)


AnyPlace = RegistryPlace | LayoutPlace


def carry_attachments(source: AnyPlace, target: AnyPlace, root: Descriptor) -> Carried:
    """Copy all that is attached to the image at `root`, or to a manifest in it: referrers, and cosign's older tags.

    The image itself must be at `target` already. What lies there stays: older signatures are merged.

    Raises:
        WorldError: one of the places failed.
    """
    carrier = _Carrier(source, target)
    for document in documents(source, root):
        carrier.carry(document.digest, 0)
    return carrier.carried


class _Carrier:
    def __init__(self, source: AnyPlace, target: AnyPlace) -> None:
        self._source = source
        self._target = target
        self.carried = Carried()

    def carry(self, subject: Digest, depth: int) -> None:
        referrers = self._source.referrers(subject)
        known = {d.digest for d in self._target.referrers(subject)} if referrers else set()
        for referrer in referrers[:_MAX_REFERRERS]:
            with self._skipping(f"referrer {referrer.digest}"):
                if referrer.digest not in known:
                    self._referrer(subject, referrer)
                self.carried.count += 1
                if depth < _MAX_DEPTH:
                    self.carry(referrer.digest, depth + 1)
        if (more := len(referrers) - _MAX_REFERRERS) > 0:
            self.carried.skipped.append(f"{more} more referrers of {subject}")
        for suffix in _SUFFIXES:
            with self._skipping(tag := f"{subject.algorithm}-{subject.hex[:64]}{suffix}"):
                self._tagged(subject, tag)

    @contextmanager
    def _skipping(self, what: str) -> Iterator[None]:
        try:
            yield
        except (InvalidContent, NotFound, RemoteNotFound) as e:
            self.carried.skipped.append(f"{what}: {e}")

    def _referrer(self, subject: Digest, listed: Descriptor) -> None:
        manifest = self._source.document(listed)
        if manifest.subject is None or manifest.subject.digest != subject:
            raise InvalidDocument(f"it does not refer to {subject}")
        if not isinstance(manifest, Manifest):
            raise InvalidDocument("it is an index")
        self._move(manifest)
        if isinstance(self._target, LayoutPlace):  # registries see the subject themselves
            self._target.attach(manifest)

    def _tagged(self, subject: Digest, tag: str) -> None:
        image = self._source.tagged(tag)
        if image is None:
            return
        known = self._target.tagged(tag)
        if known is None or known.digest != image.digest:
            self._move(image)
            if known is not None or not self._target.tag(tag, subject, image, replaces=None):
                from modelcar.signing.attach import attach_layers  # most images have no signatures to merge

                attach_layers(self._target, subject, tag, image.layers)
        self.carried.count += 1

    def _move(self, manifest: Manifest) -> None:
        """Copy a manifest and its blobs, under no name but its digest."""
        if (size := sum(blob.size for blob in manifest.blobs)) > _MAX_SIZE:
            raise InvalidDocument(f"it has {size} bytes, too many to take along")
        source, target, what = self._source, self._target, manifest.descriptor
        if isinstance(target, LayoutPlace):
            if isinstance(source, LayoutPlace):
                copy_image(source.layout, target.layout, what)
            else:
                source.registry.pull(source.at(what.digest), target.layout)
        elif isinstance(source, LayoutPlace):
            target.registry.push(source.layout, what, target.at(what.digest))
        else:
            target.registry.copy(source.at(what.digest), target.at(what.digest))
