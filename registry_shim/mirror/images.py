"""What manifests say of blobs: size, media type, and which model index describes them.

Read from the manifests that are here, so it survives restarts without files of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from modelcar.errors import ModelcarError
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.oci.media_types import MANIFESTS
from modelcar.packaging.inspect import index_layer_of
from registry_shim.mirror.facts import Facts, Kept
from registry_shim.origin import Origin

__all__ = ["Images", "Part"]

_REPOSITORIES: Final = 1000
_MAX_MANIFESTS: Final = 5000  # of a repository that are read to find a blob


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
        self._parts: OrderedDict[str, dict[Digest, Part]] = OrderedDict()
        self._complete: set[str] = set()  # repositories of which every manifest was read

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
        with self._lock:
            parts = self._parts.setdefault(origin.name, {})
            self._parts.move_to_end(origin.name)
            known = parts.get(part.descriptor.digest)
            if known is None or (known.index is None and part.index is not None):
                parts[part.descriptor.digest] = part
            while len(self._parts) > _REPOSITORIES:
                name, _ = self._parts.popitem(last=False)
                self._complete.discard(name)

    def remembered(self, origin: Origin, digest: Digest) -> Part | None:
        """What is in memory; never waits."""
        with self._lock:
            return self._parts.get(origin.name, {}).get(digest)

    def find(self, origin: Origin, digest: Digest) -> Part | None:
        """What the manifests of this repository say of a blob; `None` if none that is here lists it."""
        part = self.remembered(origin, digest)
        if part is not None or origin.name in self._complete:
            return part
        for count, each in enumerate(self._facts.repository(origin).manifests()):
            if count >= _MAX_MANIFESTS:
                break
            with suppress(ModelcarError):
                kept = self._facts.manifest(origin, each)
                if kept is not None:
                    self.learn(origin, kept)
        with self._lock:
            self._complete.add(origin.name)
        return self.remembered(origin, digest)


def _manifest(kept: Kept) -> Manifest | None:
    if kept.descriptor.media_type not in MANIFESTS:
        return None
    return Manifest.parse(kept.content, kept.descriptor.media_type)
