"""Carries out what was decided, in an order that a killed process may leave at any point.

Names first, then manifests, then layers. So no tag and no manifest ever stands for layers that were evicted; what a
killed eviction leaves is blobs that nothing names, which are the next to go.
"""

from __future__ import annotations

from registry_shim.space.catalogue import Catalogue
from registry_shim.space.content import Content, Observer
from registry_shim.space.evict import Eviction, Plan

__all__ = ["carry_out"]


def carry_out(plan: Plan, catalogue: Catalogue, content: Content, observer: Observer) -> int:
    """Returns the bytes that were freed: less than planned where something came into use meanwhile.

    Raises:
        StorageError: the disk does not let go of something. What was done until then is done.
    """
    return sum(_evict(eviction, catalogue, content, observer) for eviction in plan.evictions)


def _evict(eviction: Eviction, catalogue: Catalogue, content: Content, observer: Observer) -> int:
    image = eviction.image
    if image is not None:
        for digest in image.documents:
            if digest in eviction.digests:
                catalogue.forget(digest)
        catalogue.forget_blobs(image, [d for d in image.blobs if d in eviction.digests])
    freed = 0
    for digest in eviction.digests:  # documents come first
        size = eviction.sizes[digest]
        if content.evict(digest):
            observer.evicted(size)
            freed += size
    return freed
