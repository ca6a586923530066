"""Caches over sources in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelcar.cache.cache import Cache
from modelcar.cache.origin import Origin
from modelcar.cache.origins import Origins
from modelcar.cache.settings import CacheSettings
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, Outcome
from modelcar.oci import Descriptor
from modelcar.store.layout import OciLayout
from tests.support.chunks import Content, MemorySource, Reports

ORIGIN = Origin(registry="registry.example", repository="org/model")
FAST = FetchSettings(backoff=0.01, backoff_limit=0.05, attempts=3)
MakeCache = Callable[..., Cache]


@pytest.fixture(scope="session")
def content() -> Content:
    return Content()


@pytest.fixture
def source(content: Content) -> MemorySource:
    return MemorySource(content.data)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(FAST)
    yield scheduler
    scheduler.close()


@pytest.fixture
def make_cache(tmp_path: Path, scheduler: Scheduler, source: MemorySource) -> Iterator[MakeCache]:
    """Caches over one folder, one after the other: asking for the next one ends the one before."""
    made: list[Cache] = []

    def make(
        *sources: ChunkSource,
        settings: CacheSettings | None = None,
        seen: list[Origins] | None = None,
        told: list[tuple[str, Outcome]] | None = None,
        **named: object,
    ) -> Cache:
        for cache in made:
            cache.close()
        made.clear()
        root = tmp_path / "root"
        router = Reports(*(sources or (source,)))
        router.told = router.told if told is None else told

        def router_for(_: Descriptor, origins: Origins) -> Reports:
            if seen is not None:
                seen.append(origins)
            return router

        cache = Cache(root, OciLayout(root), scheduler, router_for, settings, **named)  # type: ignore[arg-type]  # settings by their names
        made.append(cache)
        return cache

    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def cache(make_cache: MakeCache) -> Cache:
    return make_cache()
