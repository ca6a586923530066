"""The peers of a node as a whole."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from modelcar.cache.cache import RouterFor
from modelcar.cache.origins import Origins
from modelcar.errors import UsageError
from modelcar.lazy.sources import Router
from modelcar.oci import Descriptor
from modelcar.oci.reference import is_loopback
from modelcar.renewed import Renewed
from modelcar.serving import http
from modelcar.serving.settings import Limits
from registry_shim.peers.access import Access
from registry_shim.peers.api import PeerApi
from registry_shim.peers.client import PeerClient
from registry_shim.peers.directions import Directions
from registry_shim.peers.discovery import Discovery, DnsMembers, StaticMembers
from registry_shim.peers.holdings import Holdings
from registry_shim.peers.homes import HomeBook
from registry_shim.peers.knowledge import Knowledge
from registry_shim.peers.kubernetes import KubernetesMembers
from registry_shim.peers.members import Member
from registry_shim.peers.membership import Membership
from registry_shim.peers.router import PeerRouter
from registry_shim.peers.settings import PeerSettings

__all__ = ["Peers"]

_TRIALS: Final = 1.0  # seconds between two looks whether a dead peer is to be tried
_LOOKOUTS: Final = 8  # threads that ask what peers have of blobs that begin
_MOST_BODY: Final = 64 << 20  # bytes: a chunk table
_log = logging.getLogger("registry_shim.peers")


class Peers:
    """Make it first, for the cache needs its routers; then enter `serving` with the cache.

    Raises:
        UsageError: the settings allow strangers in, or name files that cannot be used.
        StorageError: a file cannot be read.
    """

    def __init__(self, settings: PeerSettings) -> None:
        self._settings = settings
        self.membership = Membership(settings)
        self._discovery = _discovery(settings)
        self._check()
        self._knowledge = Knowledge(settings.wait_seconds)
        homes = HomeBook(self.membership, settings.stand_ins)
        self._directions = Directions(self.membership, homes, self._knowledge)
        self._client = PeerClient(settings)
        self._turns = threading.Semaphore(settings.last_resort)
        self._lookouts = threading.Semaphore(_LOOKOUTS)
        self._stopped = threading.Event()

    def router_for(self, behind: RouterFor) -> RouterFor:
        """As `behind`, which makes the routers of a node without peers, with the peers before them."""

        def router(descriptor: Descriptor, origins: Origins) -> Router:
            return PeerRouter(
                origins,
                behind(descriptor, origins),
                membership=self.membership,
                directions=self._directions,
                knowledge=self._knowledge,
                client=self._client,
                turns=self._turns,
                lookouts=self._lookouts,
            )

        return router

    def upstream_share(self) -> int:
        """How many streams to upstreams this node may have: for `Scheduler.upstream_share`."""
        return math.ceil(self._settings.upstream_streams / len(self.membership.ring()))

    @asynccontextmanager
    async def serving(self, holdings: Holdings, access: Access, listener: socket.socket) -> AsyncIterator[None]:
        """Answer the peers that come in on `listener`, and follow who they are, during the block."""
        api = PeerApi(self._settings, self._directions, holdings, access)
        tls = self._settings.tls
        contexts = Renewed("the certificate for peers", tls.server_context, tls.files) if tls is not None else None
        threads = [
            threading.Thread(target=partial(self._discovery.run, self.membership.replace), name="peers"),
            threading.Thread(target=self._try_the_dead, name="peers-trials"),
        ]
        for thread in threads:
            thread.start()
        tending = asyncio.create_task(api.tend())
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop, threads)
            stack.push_async_callback(api.close)
            stack.callback(tending.cancel)
            limits = Limits(body_bytes=_MOST_BODY)
            await stack.enter_async_context(http.listening(api.handle, listener, limits=limits, tls=contexts))
            yield

    async def _stop(self, threads: list[threading.Thread]) -> None:
        self._stopped.set()
        self._discovery.stop()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        self._client.close()

    def _try_the_dead(self) -> None:
        while not self._stopped.wait(_TRIALS):
            for member in self.membership.trials():
                if self._client.is_well(member):
                    _log.info("peer %s is back", member.name)
                    self.membership.succeeded(member)
                else:
                    self.membership.failed(member)

    def _check(self) -> None:
        listens = Member.parse(self._settings.listen).host
        hosts = [host for host in (listens, self.membership.me.host) if not is_loopback(host)]
        if self._settings.tls is None and not self._settings.insecure and hosts:
            raise UsageError(
                f"peers at {hosts[0]} can be reached from other machines, and there is no TLS",
                hint="give certificates (`tls`), or say `insecure` if your network protects them",
            )


def _discovery(settings: PeerSettings) -> Discovery:
    if settings.kubernetes is not None:
        return KubernetesMembers(settings.kubernetes)
    if settings.dns is not None:
        return DnsMembers(settings.dns, settings.dns_seconds)
    return StaticMembers(settings.members)
