"""A node: its parts, put together. What a request meets on its way, and what runs beside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from modelcar.lazy.scheduler import Scheduler
from modelcar.store.layout import OciLayout
from registry_shim.cache.cache import Cache
from registry_shim.cache.scrub import Scrubber
from registry_shim.distribution import Distribution, Settings
from registry_shim.distribution.context import Context
from registry_shim.distribution.repositories import Repositories
from registry_shim.distribution.sessions import Sessions
from registry_shim.gate.gate import Gate
from registry_shim.gate.upstream import MirrorBlobs
from registry_shim.mirror.mirror import Library, Mirror
from registry_shim.mirror.sources import upstream_router
from registry_shim.mirror.upstreams import Upstreams
from registry_shim.operations.settings import NodeSettings
from registry_shim.serving.messages import Request, Response
from registry_shim.serving.threads import in_thread
from registry_shim.space.space import Space

__all__ = ["Node", "node"]

_REAP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Answers requests. `mirror` is asked first: a repository below the name of an upstream is that upstream's."""

    distribution: Distribution
    mirror: Mirror
    cache: Cache
    space: Space
    gate: Gate

    async def handle(self, request: Request) -> Response:
        return await self.mirror.handle(request) or await self.distribution.handle(request)


@asynccontextmanager
async def node(root: Path, layout: OciLayout, settings: NodeSettings) -> AsyncIterator[Node]:
    """The node over `root`, which is this process's alone. At the end transfers are parked: the next one goes on.

    Raises:
        ModelcarError: a part cannot begin: a damaged file in `root`, a policy that cannot be read.
    """
    async with AsyncExitStack() as ending:
        upstreams = Upstreams(settings.mirror)
        ending.callback(upstreams.close)
        scheduler = Scheduler(settings.fetch)
        ending.push_async_callback(in_thread, scheduler.close)
        space = Space(root, settings.space, lambda: library.facts.places())  # noqa: PLW0108  # made below
        router = partial(upstream_router, upstreams)
        cache = Cache(root, layout, scheduler, router, settings.cache)
        ending.push_async_callback(in_thread, cache.close)
        library = Library.build(root, layout, cache, upstreams, settings.mirror)
        blobs = MirrorBlobs(library, cache, asyncio.get_running_loop())
        gate = Gate(settings.gate, root, blobs.place, blobs, cache)
        mirror = Mirror(settings.mirror, upstreams, library, cache, admission=gate, touch=space.touch)
        ending.push_async_callback(mirror.close)
        ending.push_async_callback(in_thread, cache.park)  # ends whoever waits for it, too
        distribution = await _distribution(root, layout, settings, ending)
        if settings.mirror.upstreams:
            ending.push_async_callback(gate.close)
            await gate.start()
            scrubber = Scrubber(cache)
            ending.push_async_callback(in_thread, scrubber.close)
            await in_thread(scrubber.start)
        yield Node(distribution=distribution, mirror=mirror, cache=cache, space=space, gate=gate)


async def _distribution(root: Path, layout: OciLayout, settings: NodeSettings, ending: AsyncExitStack) -> Distribution:
    """The repositories of the node itself."""
    sessions = Sessions(layout)
    own = Settings(writable=settings.writable, deletable=settings.deletable)
    ending.push_async_callback(sessions.close)
    reaper = asyncio.create_task(_reap(sessions))
    ending.push_async_callback(_end, reaper)
    return Distribution(Context(layout, Repositories(root / "repositories"), sessions, own))


async def _reap(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(_REAP_SECONDS)
        await sessions.reap()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
