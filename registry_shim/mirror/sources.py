"""Where the cache gets a blob from without peers: the mirrors of its registry, and then the registry itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from modelcar.cache.origins import Origins
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ChunkSource, Outcome, SourceKind
from modelcar.lazy.upstream import Offer, RegistrySource
from modelcar.oci import Descriptor, Digest
from registry_shim.mirror.upstreams import Endpoint, Upstreams

__all__ = ["UpstreamRouter", "upstream_router"]


def upstream_router(upstreams: Upstreams, _: Descriptor, origins: Origins) -> UpstreamRouter:
    """As the cache wants it: `partial(upstream_router, upstreams)`."""
    return UpstreamRouter(upstreams, origins)


class UpstreamRouter:
    """A `Router` for one blob: every registry through which it was asked for, on behalf of those who asked last."""

    def __init__(self, upstreams: Upstreams, origins: Origins) -> None:
        self._upstreams = upstreams
        self._origins = origins
        self._sources: dict[str, tuple[RegistrySource, ...]] = {}

    def background(self, grid: Grid) -> Iterable[int]:
        return range(len(grid))

    def candidates(self, _grid: Grid, _number: int) -> Sequence[ChunkSource]:
        return self.sources()

    def is_at_hand(self, _grid: Grid, _number: int) -> bool:
        return True

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        """Nobody chooses."""

    def sources(self) -> Sequence[ChunkSource]:
        """All of them, mirrors first, the registry of whoever asked last before others."""
        registries = dict.fromkeys(origin.registry for origin in self._origins.known())
        found = [source for registry in registries for source in self._of(registry)]
        return sorted(found, key=lambda source: source.kind is SourceKind.UPSTREAM)

    def _of(self, registry: str) -> tuple[RegistrySource, ...]:
        if registry not in self._sources:
            endpoints = self._upstreams[registry].endpoints if registry in self._upstreams else ()
            self._sources[registry] = tuple(self._source(registry, endpoint) for endpoint in endpoints)
        return self._sources[registry]

    def _source(self, registry: str, endpoint: Endpoint) -> RegistrySource:
        name = registry if endpoint.kind is SourceKind.UPSTREAM else endpoint.url
        return RegistrySource(name, partial(self._offers, registry, endpoint), endpoint.kind)

    def _offers(self, registry: str, endpoint: Endpoint, digest: Digest) -> list[Offer]:
        origins = [origin for origin in self._origins.known() if origin.registry == registry]
        return [(endpoint.client(origin), origin.reference(digest=digest)) for origin in origins]
