"""What a person wants to know of the space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelcar.cache.stored import Stored
from modelcar.disk import Disk
from modelcar.oci import Digest
from registry_shim.space.evict import Contents, Image, in_use, use_of

__all__ = ["ImageStatus", "SpaceStatus", "status_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """An image on this node. Sizes are bytes on disk; `own` is what removing it alone would free."""

    digest: Digest
    names: tuple[str, ...]
    size: int
    total: int
    """Bytes of the platform of which the most is here, once all of it is."""
    own: int
    used: float
    """Seconds since the epoch."""
    whole: bool
    pinned: bool
    in_use: bool
    blobs: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": str(self.digest),
            "names": list(self.names),
            "size": self.size,
            "total": self.total,
            "own": self.own,
            "used": round(self.used, 1),
            "whole": self.whole,
            "pinned": self.pinned,
            "in_use": self.in_use,
            "blobs": self.blobs,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceStatus:
    """Bytes on disk, and images, the most recently used first."""

    disk: Disk
    taken: int
    """By the shim in all; what images share counts once."""
    coming: int
    """Promised to transfers that run, and not written yet."""
    evictable: int
    """Could go if room were needed now."""
    budget: int
    """0: none but the disk's."""
    loose: int
    """Belongs to no image."""
    images: tuple[ImageStatus, ...]

    @property
    def capacity(self) -> int:
        """Bytes that the cache may come to: its budget, or what it has and the disk has free."""
        return self.budget or self.taken + self.disk.free

    @property
    def used_rate(self) -> float:
        """Share of the capacity that is used, running transfers included."""
        return (self.taken + self.coming) / self.capacity if self.capacity else 1.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "disk": {"total": self.disk.total, "free": self.disk.free},
            "taken": self.taken,
            "coming": self.coming,
            "evictable": self.evictable,
            "budget": self.budget,
            "loose": self.loose,
            "capacity_used_rate": round(self.used_rate, 4),
        }


def status_of(contents: Contents, *, disk: Disk, taken: int, coming: int, budget: int, evictable: int) -> SpaceStatus:
    owners = Counter(d for image in contents.images for d in set(image.members))
    busy = in_use(contents, owners)
    images = [_image_status(i, contents, owners, busy=b) for i, b in zip(contents.images, busy, strict=True)]
    named = contents.named | contents.kept
    return SpaceStatus(
        disk=disk,
        taken=taken,
        coming=coming,
        evictable=evictable,
        budget=budget,
        loose=sum(s.size for d, s in contents.stored.items() if d not in named),
        images=tuple(sorted(images, key=lambda i: (-i.used, str(i.digest)))),
    )


def _image_status(image: Image, contents: Contents, owners: Counter[Digest], *, busy: bool) -> ImageStatus:
    stored = contents.stored
    here = [d for d in image.members if d in stored]
    return ImageStatus(
        digest=image.root,
        names=image.names,
        size=sum(stored[d].size for d in here),
        total=_total(image, stored),
        own=sum(stored[d].size for d in here if owners[d] == 1 and d not in contents.kept),
        used=use_of(image, contents, owners),
        whole=image.is_whole(stored),
        pinned=image.pinned,
        in_use=busy,
        blobs=sum(d in stored for d in image.blobs),
    )


def _total(image: Image, stored: Mapping[Digest, Stored]) -> int:
    def here(variant: frozenset[Digest]) -> int:
        return sum(stored[d].size for d in variant if d in stored)

    chosen: frozenset[Digest] = max(image.variants, key=here, default=frozenset())
    return sum(image.sizes.get(d, 0) for d in chosen)
