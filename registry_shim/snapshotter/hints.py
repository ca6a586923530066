"""What containerd's labels say of a layer: which image it belongs to, and whether it may be mounted lazily. Pure.

CRI tells the image, its manifest and the layers from this one up; the layer's own annotations come along where their
name begins with `containerd.io/snapshot/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelcar.errors import InvalidDigest, InvalidReference
from modelcar.oci import Digest, Reference
from modelcar.packaging.annotations import SNAPSHOT_INDEX, SNAPSHOT_LAYER
from registry_shim.snapshotter.records import LazyLayer, ModelImage

__all__ = ["REF", "lazy_layer"]

REF: Final = "containerd.io/snapshot.ref"
"""On the snapshot that a layer is unpacked into: the chain id that it will have."""
_IMAGE: Final = "containerd.io/snapshot/cri.image-ref"
_MANIFEST: Final = "containerd.io/snapshot/cri.manifest-digest"
_LAYER: Final = "containerd.io/snapshot/cri.layer-digest"
_LAZY_KINDS: Final = frozenset({"weights"})


def lazy_layer(labels: Mapping[str, str]) -> LazyLayer | None:
    """The layer, if it is one of ours, has an index, and everything needed to find it is there."""
    if labels.get(SNAPSHOT_LAYER) not in _LAZY_KINDS or SNAPSHOT_INDEX not in labels or REF not in labels:
        return None
    try:
        Digest.parse(labels[SNAPSHOT_INDEX])
        Reference.parse(labels[_IMAGE])
        manifest, digest = Digest.parse(labels[_MANIFEST]), Digest.parse(labels[_LAYER])
    except (KeyError, InvalidDigest, InvalidReference):
        return None
    return LazyLayer(image=ModelImage(reference=labels[_IMAGE], manifest=manifest), digest=digest)
