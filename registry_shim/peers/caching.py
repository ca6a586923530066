"""`Holdings` over the node's cache."""

from __future__ import annotations

from modelcar.cache.cache import Cache
from modelcar.cache.lease import Lease, Purpose
from modelcar.cache.origin import Origin
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest, media_types

__all__ = ["CacheHoldings"]


class CacheHoldings:
    """What the cache has, and what it fetches for peers."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def find(self, digest: Digest, grid: str) -> Lease | None:
        return self._cache.peek(digest, grid)

    def chunks(self, digest: Digest, grid: str) -> bytes | None:
        return self._cache.chunks(digest, grid)

    def fetch(self, origin: Origin, grid: Grid) -> Lease:
        blob = Descriptor(media_type=media_types.LAYER_TAR, digest=grid.digest, size=grid.size)
        return self._cache.lease(origin, blob, grid=grid, purpose=Purpose.PEER)
