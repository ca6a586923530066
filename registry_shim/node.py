"""What a node's folder serves: repositories of its own, and those of upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.store.layout import OciLayout
from registry_shim.cache.cache import Cache
from registry_shim.cache.settings import CacheSettings
from registry_shim.distribution import Distribution, Settings
from registry_shim.distribution.context import Context
from registry_shim.distribution.repositories import Repositories
from registry_shim.distribution.sessions import Sessions
from registry_shim.mirror.admission import Admission
from registry_shim.mirror.mirror import Library, Mirror
from registry_shim.mirror.settings import MirrorSettings
from registry_shim.mirror.sources import upstream_router
from registry_shim.mirror.upstreams import Upstreams
from registry_shim.serving.messages import Request, Response
from registry_shim.serving.threads import in_thread

__all__ = ["Node", "Serving", "node"]

_REAP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is served, and how."""

    own: Settings = field(default_factory=Settings)
    mirror: MirrorSettings = field(default_factory=MirrorSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)

    @property
    def keeps(self) -> bool:
        """Whether anything is written to the folder."""
        return self.own.writable or bool(self.mirror.upstreams)


class Node:
    """Answers requests. `mirror` is asked first: a repository below the name of an upstream is that upstream's."""

    def __init__(self, distribution: Distribution, mirror: Mirror, cache: Cache) -> None:
        self.mirror = mirror
        self.cache = cache
        self._distribution = distribution

    async def handle(self, request: Request) -> Response:
        return await self.mirror.handle(request) or await self._distribution.handle(request)


@asynccontextmanager
async def node(
    root: Path, layout: OciLayout, serving: Serving, *, admission: Admission | None = None
) -> AsyncIterator[Node]:
    """The node over `root`, which is this process's alone. At the end transfers are parked: the next one goes on."""
    sessions = Sessions(layout)
    context = Context(layout, Repositories(root / "repositories"), sessions, serving.own)
    upstreams = Upstreams(serving.mirror)
    scheduler = Scheduler(serving.fetch)
    cache = Cache(root, layout, scheduler, partial(upstream_router, upstreams), serving.cache)
    library = Library.build(root, layout, cache, upstreams, serving.mirror)
    mirror = Mirror(serving.mirror, upstreams, library, cache, admission=admission)
    reaper = asyncio.create_task(_reap(sessions))
    try:
        yield Node(Distribution(context), mirror, cache)
    finally:
        reaper.cancel()
        await sessions.close()
        await in_thread(cache.park)  # ends whoever waits for it, too
        await mirror.close()
        await in_thread(cache.close)
        await in_thread(scheduler.close)
        upstreams.close()


async def _reap(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(_REAP_SECONDS)
        await sessions.reap()
