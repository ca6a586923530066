"""What manifests say of blobs: size, media type, and which model index describes them.

Read from the manifests that are here, so it survives restarts without files of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.oci.media_types import MANIFESTS
from modelcar.packaging.inspect import index_layer_of
from registry_shim.mirror.facts import Facts, Kept

__all__ = ["Images", "Part"]

_REMEMBERED: Final = 50_000  # blobs
_MAX_MANIFESTS: Final = 5000  # of a repository that are looked through to find a blob


@dataclass(frozen=True, slots=True)
class Part:
    """A blob of an image; `index` is the layer that holds the image's model index."""

    descriptor: Descriptor
    index: Descriptor | None = None


class Images:
    """Safe to share between threads. `find` may read the disk."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._lock = threading.Lock()
        self._parts: OrderedDict[tuple[str, Digest], Part] = OrderedDict()

    def learn(self, origin: Origin, kept: Kept) -> Descriptor | None:
        """Take in a manifest; returns the layer with its model index, if it has one."""
        manifest = _manifest(kept)
        if manifest is None:
            return None
        index = index_layer_of(manifest)
        layers = {layer.digest for layer in manifest.layers}
        for blob in manifest.blobs:
            described = index is not None and blob.digest in layers and blob.digest != index.digest
            self.add(origin, Part(blob, index if described else None))
        return index

    def add(self, origin: Origin, part: Part) -> None:
        key = (origin.name, part.descriptor.digest)
        with self._lock:
            known = self._parts.get(key)
            if known is None or (known.index is None and part.index is not None):
                self._parts[key] = part
            self._parts.move_to_end(key)
            if len(self._parts) > _REMEMBERED:
                self._parts.popitem(last=False)

    def remembered(self, origin: Origin, digest: Digest) -> Part | None:
        """What is in memory; never waits."""
        with self._lock:
            part = self._parts.get((origin.name, digest))
            if part is not None:
                self._parts.move_to_end((origin.name, digest))
            return part

    def find(self, origin: Origin, digest: Digest) -> Part | None:
        """What the manifests of this repository say of a blob; `None` if none that is here lists it."""
        if (part := self.remembered(origin, digest)) is not None:
            return part
        for each in islice(self._facts.repository(origin).manifests(), _MAX_MANIFESTS):
            with suppress(ModelcarError):
                kept = self._facts.manifest(origin, each)
                if kept is not None and digest.hex.encode() in kept.content:  # most need not be parsed
                    self.learn(origin, kept)
                    if (part := self.remembered(origin, digest)) is not None:
                        return part
        return None


def _manifest(kept: Kept) -> Manifest | None:
    if kept.descriptor.media_type not in MANIFESTS:
        return None
    return Manifest.parse(kept.content, kept.descriptor.media_type)
