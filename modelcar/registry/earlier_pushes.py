"""What earlier pushes left in a repository, as far as it can be told before anything is hashed."""

from __future__ import annotations

from itertools import islice
from typing import Final

from modelcar.errors import ModelcarError
from modelcar.oci import Manifest, Reference
from modelcar.registry.documents import Documents

__all__ = ["earlier_sizes"]

_TAGS: Final = 100  # how many are listed
_IMAGES: Final = 3  # how many of them are looked into


def earlier_sizes(documents: Documents, ref: Reference) -> frozenset[int]:
    """The sizes (bytes) of all layers of the image that `ref` names now, or else of its repository's last few tags.

    A layer that is about to be hashed and has exactly such a size is probably there already. Where nothing can be
    read, nothing is known.
    """
    sizes = _sizes_of(documents, ref)
    if sizes:
        return sizes
    try:
        tags = list(islice(documents.tags(ref), _TAGS))
    except ModelcarError:
        return frozenset()
    others = [ref.with_tag(tag) for tag in tags[-_IMAGES:] if tag != ref.tag]
    return frozenset().union(*(_sizes_of(documents, other) for other in others))


def _sizes_of(documents: Documents, ref: Reference) -> frozenset[int]:
    try:
        root = documents.manifest(ref)
        images = [root] if isinstance(root, Manifest) else [documents.manifest(ref, c) for c in root.manifests[:1]]
    except ModelcarError:
        return frozenset()
    return frozenset(layer.size for image in images if isinstance(image, Manifest) for layer in image.layers)
