"""A node: its parts, put together. What a request meets on its way, and what runs beside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from modelcar.cache.cache import Cache
from modelcar.cache.lease import Purpose
from modelcar.cache.origin import Origin
from modelcar.cache.scrub import Scrubber
from modelcar.errors import Denied, ModelcarError, NotFound, UsageError
from modelcar.lazy.scheduler import Scheduler
from modelcar.mounts.host import MountHost
from modelcar.mounts.link.server import LinkServer
from modelcar.oci import Digest, Reference
from modelcar.serving.address import Address, bound
from modelcar.serving.config.reading import load
from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from modelcar.store.layout import OciLayout
from registry_shim.distribution import Distribution, Settings
from registry_shim.distribution.context import Context
from registry_shim.distribution.repositories import Repositories
from registry_shim.distribution.sessions import Sessions
from registry_shim.engines.importing import Importer
from registry_shim.gate.gate import Gate
from registry_shim.gate.settings import GateSettings
from registry_shim.gate.upstream import MirrorBlobs
from registry_shim.mirror.facts import Facts
from registry_shim.mirror.mirror import Library, Mirror
from registry_shim.mirror.sources import upstream_router
from registry_shim.mirror.upstreams import Upstreams
from registry_shim.mounts.node import NodeMounts
from registry_shim.operations.admin.revoked import Revoked
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.settings import NodeSettings
from registry_shim.peers.access import SameAsClients
from registry_shim.peers.caching import CacheHoldings
from registry_shim.peers.peers import Peers
from registry_shim.precache.doors import Doors
from registry_shim.precache.node_doors import GateGuard, MirrorImages, StoreImporter
from registry_shim.precache.precache import Precache
from registry_shim.precache.settings import PrecacheImage, PrecacheList
from registry_shim.space.space import Space

__all__ = ["Node", "node"]

_REAP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Answers requests. `mirror` is asked first: a repository below the name of an upstream is that upstream's."""

    distribution: Distribution
    mirror: Mirror
    scheduler: Scheduler
    cache: Cache
    space: Space
    gate: Gate
    precache: Precache
    peers: Peers | None
    revoked: Revoked | None
    mounts: NodeMounts | None

    async def handle(self, request: Request) -> Response:
        return await self.mirror.handle(request) or await self.distribution.handle(request)

    async def change(self, settings: NodeSettings) -> None:
        """Go by other upstreams and other rules from now on.

        Raises:
            ModelcarError: they cannot be; those of before hold.
        """
        if self.revoked is None or not settings.mirrors:
            raise UsageError("whether a node has upstreams at all changes with a restart only")
        before = self.gate.settings
        await self.gate.change(_judging(settings, self.revoked))  # first: a new upstream never comes without its rules
        try:
            await in_thread(self.mirror.reload, settings.mirror)
        except ModelcarError:
            await self.gate.change(before)
            raise

    async def rescan(self, reference: Reference) -> dict[str, Any]:
        """Have an image scanned again; says what becomes of it.

        Raises:
            NotFound: this node knows of no such image.
            StorageError: its verdict cannot be removed.
        """
        origin = Origin(registry=reference.registry, repository=reference.repository)
        digest = reference.digest or await in_thread(self.mirror.library.facts.resolve, origin, reference.tag or "")
        if digest is None:
            raise NotFound(f"{reference} was never pulled through this node", hint="registry-shim status lists images")
        done = await self.gate.rescan(origin, digest)
        return {"reference": str(reference), "digest": str(digest), **done.to_dict()}

    def describe_peers(self) -> list[dict[str, str]]:
        """Name, zone and state of every peer."""
        members = self.peers.membership.all() if self.peers else {}
        return [{"name": m.name, "zone": m.zone, "state": str(state)} for m, state in members.items()]


@asynccontextmanager
async def node(root: Path, layout: OciLayout, settings: NodeSettings, metrics: Metrics) -> AsyncIterator[Node]:
    """The node over `root`, which is this process's alone. At the end transfers are parked: the next one goes on.

    Raises:
        ModelcarError: a part cannot begin: a damaged file in `root`, a policy that cannot be read.
    """
    async with AsyncExitStack() as ending:
        upstreams = Upstreams(settings.mirror)
        ending.callback(upstreams.close)
        scheduler = Scheduler(settings.fetch, metrics.fetching)
        ending.push_async_callback(in_thread, scheduler.close)
        facts = Facts(root, layout)
        space = Space(root, settings.space, facts.places, observer=metrics.space)
        peers = Peers(settings.peers) if settings.peers else None
        if peers is not None:
            scheduler.upstream_share = peers.upstream_share
        router = partial(upstream_router, upstreams)
        cache = Cache(
            root,
            layout,
            scheduler,
            peers.router_for(router) if peers else router,
            settings.cache,
            make_room=space.make_room,
            events=metrics.cache,
        )
        ending.push_async_callback(in_thread, cache.close)
        library = Library.build(facts, cache, upstreams, settings.mirror)
        loop = asyncio.get_running_loop()
        blobs = MirrorBlobs(library, cache, loop)
        revoked = Revoked(root / "revoked.yaml") if settings.mirrors else None
        gate = Gate(_judging(settings, revoked), root, blobs.place, blobs, cache, metrics.gate)
        mirror = Mirror(settings.mirror, upstreams, library, cache, admission=gate, touch=space.touch)
        ending.push_async_callback(mirror.close)
        ending.push_async_callback(in_thread, cache.park)  # ends whoever waits for it, too
        distribution = await _distribution(root, layout, settings, ending)
        images = MirrorImages(upstreams, library, cache, loop)
        doors = Doors(
            images=images,
            room=space,
            guard=GateGuard(gate, loop),
            importer=StoreImporter(Importer(settings.imports), cache) if settings.imports else None,
            throttle=lambda rate: scheduler.limit(rate, Purpose.PRECACHE),
        )
        served = Node(
            distribution=distribution,
            mirror=mirror,
            scheduler=scheduler,
            cache=cache,
            space=space,
            gate=gate,
            precache=Precache(root, settings.precache, doors, _read_list),
            peers=peers,
            revoked=revoked,
            mounts=await _mounts(root, cache, library, images, gate, ending) if settings.mirrors else None,
        )
        if settings.mirrors:
            await _begin(served, settings, metrics, ending)
        yield served


async def _begin(served: Node, settings: NodeSettings, metrics: Metrics, ending: AsyncExitStack) -> None:
    """What runs beside the requests of a node with upstreams."""
    await in_thread(served.space.start, served.cache)
    ending.push_async_callback(in_thread, served.space.close)
    ending.push_async_callback(served.gate.close)
    await served.gate.start()
    scrubber = Scrubber(served.cache, events=metrics.cache)
    ending.push_async_callback(in_thread, scrubber.close)
    await in_thread(scrubber.start)
    if served.peers is not None and settings.peers is not None:
        listener = ending.enter_context(bound(Address.parse(settings.peers.listen).resolved()))
        holdings, access = CacheHoldings(served.cache), _peer_access(served.mirror, served.gate)
        await ending.enter_async_context(served.peers.serving(holdings, access, listener))
    ending.push_async_callback(in_thread, served.precache.close)
    await in_thread(served.precache.start)


async def _mounts(
    root: Path, cache: Cache, library: Library, images: MirrorImages, gate: Gate, ending: AsyncExitStack
) -> NodeMounts:
    """What the snapshotter beside this node asks for; mounts of before go on."""
    host = await in_thread(partial(MountHost, root, cache, indexes=library.tables.indexes))
    ending.push_async_callback(in_thread, host.close)
    link = LinkServer(root / "mounts.sock", host)
    ending.push_async_callback(in_thread, link.close)
    return NodeMounts(host, root / "mounts.sock", images, gate, asyncio.get_running_loop())


def _judging(settings: NodeSettings, revoked: Revoked | None) -> GateSettings:
    """What the gate goes by: what was revoked on this node is denied as well."""
    own = (revoked.path,) if revoked else ()
    return replace(settings.gate, deny_lists=(*settings.gate.deny_lists, *own))


def _read_list(text: str, name: str) -> tuple[PrecacheImage, ...]:
    return load(text, PrecacheList, name=name).images


def _peer_access(mirror: Mirror, gate: Gate) -> SameAsClients:
    async def find(origin: Origin, digest: Digest) -> int:
        if (reason := gate.revoked(digest)) is not None:
            raise Denied(f"{digest} is not served by this node: {reason}")
        return (await mirror.find_blob(origin, digest)).descriptor.size

    def at_hand(origin: Origin, digest: Digest) -> int | None:
        part = mirror.library.blobs.at_hand(origin, digest)
        return None if part is None or gate.revoked(digest) is not None else part.descriptor.size

    return SameAsClients(identify=mirror.library.gatekeeper.identify, at_hand=at_hand, find=find)


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
