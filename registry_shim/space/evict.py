"""What goes: the least recently used first, whole images, and never what somebody needs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from modelcar.cache.stored import Stored, oldest_first
from modelcar.oci import Digest

__all__ = ["Contents", "Eviction", "Image", "Plan", "abandoned", "choose", "in_use", "use_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What belongs together: a manifest or index, all that it names, and the signatures and attestations on it."""

    root: Digest
    names: tuple[str, ...] = ()
    """`registry/repository:tag`, or `registry/repository@digest` where no tag leads to it."""
    documents: tuple[Digest, ...]
    """Manifests and indexes in the order in which they are removed: whoever names others before those."""
    blobs: tuple[Digest, ...] = ()
    """Configs and layers."""
    variants: tuple[frozenset[Digest], ...] = ()
    """Configs and layers by platform: the image is whole on this node when all of one of them are here."""
    sizes: Mapping[Digest, int] = field(default_factory=dict)
    """What manifests say of blobs, in bytes, here or not."""
    pinned: bool = False

    @property
    def members(self) -> tuple[Digest, ...]:
        return self.documents + self.blobs

    def is_whole(self, stored: Mapping[Digest, Stored]) -> bool:
        return any(all(d in stored and not stored[d].partial for d in variant) for variant in self.variants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that is on a node."""

    stored: Mapping[Digest, Stored]
    images: Sequence[Image] = ()
    held: frozenset[Digest] = field(default_factory=frozenset)
    """In use now: leased, on its way, mounted. These stay, and so does the rest of their image."""
    kept: frozenset[Digest] = field(default_factory=frozenset)
    """Pushed to this node, or promised: these stay, and nothing follows for images that have them too."""

    @property
    def named(self) -> AbstractSet[Digest]:
        """What belongs to an image."""
        return {digest for image in self.images for digest in image.members}


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """One step: forget `image` (or nothing, for what belongs to none), then remove `sizes` in their order."""

    image: Image | None
    sizes: Mapping[Digest, int]
    """Bytes on disk of what is removed."""
    used: float

    @property
    def digests(self) -> Collection[Digest]:
        return self.sizes.keys()

    @property
    def size(self) -> int:
        return sum(self.sizes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    evictions: tuple[Eviction, ...] = ()

    @property
    def freed(self) -> int:
        return sum(e.size for e in self.evictions)

    @property
    def digests(self) -> frozenset[Digest]:
        return frozenset(d for e in self.evictions for d in e.digests)


def use_of(image: Image, contents: Contents, owners: Mapping[Digest, int]) -> float:
    """When an image was last used: by its documents, and by blobs that it shares with nobody."""
    own = (d for d in image.members if d in contents.stored and (d in image.documents or owners[d] == 1))
    return max((contents.stored[d].used for d in own), default=0.0)


def in_use(contents: Contents, owners: Mapping[Digest, int]) -> list[bool]:
    """By image: whether somebody pulls, mounts or scans it now, as far as one can tell from blobs.

    Of images that share a blob in use (a base layer, the empty configuration of all artifacts), it is the one that was
    used last: whoever pulls began with its manifest.
    """
    uses = [use_of(image, contents, owners) for image in contents.images]
    latest: dict[Digest, float] = {}
    for image, used in zip(contents.images, uses, strict=True):
        for digest in contents.held.intersection(image.members):
            latest[digest] = max(used, latest.get(digest, used))
    return [
        any(owners[d] == 1 or latest[d] == used for d in contents.held.intersection(image.members))
        for image, used in zip(contents.images, uses, strict=True)
    ]


def choose(contents: Contents, wanted: int, *, idle_since: float) -> Plan:
    """What to evict for `wanted` bytes; less is freed if more cannot go.

    Args:
        idle_since: what was used after this moment stays.
    """
    if wanted <= 0:
        return Plan()
    owners = Counter(d for image in contents.images for d in set(image.members))
    candidates: list[tuple[float, Image | None, tuple[Digest, ...]]] = [
        (use_of(image, contents, owners), image, image.members)
        for image, busy in zip(contents.images, in_use(contents, owners), strict=True)
        if not image.pinned and not busy
    ]
    stays = contents.held | contents.kept
    candidates += [(s.used, None, (d,)) for d, s in contents.stored.items() if not owners[d] and d not in stays]
    candidates = sorted((c for c in candidates if c[0] <= idle_since), key=lambda c: (c[0], str(c[2][0])))
    evictions: list[Eviction] = []
    freed = 0
    for used, image, members in candidates:
        if freed >= wanted:
            break
        owners.subtract(set(members) if image else ())
        gone = (d for d in members if owners[d] <= 0 and d in contents.stored and d not in stays)
        evictions.append(Eviction(image=image, sizes={d: contents.stored[d].size for d in gone}, used=used))
        freed += evictions[-1].size
    return Plan(evictions=tuple(_without_futile(evictions, freed - wanted)))


def _without_futile(evictions: Sequence[Eviction], spare: int) -> Iterable[Eviction]:
    """An image whose layers all stay, because others have them too, is not given up for its manifest alone."""
    for eviction in evictions:
        if eviction.size <= spare and _is_futile(eviction, evictions):
            spare -= eviction.size
        else:
            yield eviction


def _is_futile(eviction: Eviction, evictions: Sequence[Eviction]) -> bool:
    """Whether it removes no layer, and no other step removes what could only go because this image went too."""
    image = eviction.image
    if image is None or not image.blobs or not set(image.blobs).isdisjoint(eviction.digests):
        return False
    members = set(image.members)
    return all(e is eviction or members.isdisjoint(e.digests) for e in evictions)


def abandoned(contents: Contents, *, older_than: float) -> Plan:
    """Parts of blobs that nobody has gone on with since the moment `older_than`, unless they are held or pinned."""
    stays = {d for image in contents.images if image.pinned for d in image.members} | contents.held | contents.kept
    return Plan(
        evictions=tuple(
            Eviction(image=None, sizes={s.digest: s.size}, used=s.used)
            for s in oldest_first(contents.stored.values())
            if s.partial and s.used <= older_than and s.digest not in stays
        )
    )
