"""Nodes in one process: caches, peers and sockets are real, the upstream is memory that counts."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from modelcar.cache.cache import Cache
from modelcar.cache.origin import Origin
from modelcar.cache.origins import Origins
from modelcar.lazy.grid import Grid
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.oci import Descriptor, Digest
from modelcar.store.layout import OciLayout
from registry_shim.peers.access import Admitted
from registry_shim.peers.caching import CacheHoldings
from registry_shim.peers.peers import Peers
from registry_shim.peers.settings import PeerSettings
from tests.support.chunks import Content, MemorySource, Reports

__all__ = ["ORIGIN", "PATIENT", "TRUSTING", "Node", "cluster", "free_addresses", "pull", "pull_all"]

ORIGIN = Origin(registry="registry.example", repository="org/model")
FAST = FetchSettings(backoff=0.01, backoff_limit=0.1, attempts=3)
PATIENT = replace(FAST, hedge_after=60.0, stall=60.0, straggler_after=60.0)
TRUSTING = PeerSettings(members=("x",), hold_seconds=10.0, suspect_seconds=10.0)
"""With both, no pause of the machine sends anybody to the upstream."""
TIMEOUT = 30


class Everyone:
    """An `Access` that lets everyone in, and remembers whom. Every blob has `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: list[tuple[Origin, Digest]] = []

    async def admit(self, origin: Origin, digest: Digest) -> Admitted:
        self.asked.append((origin, digest))
        return Admitted(origin=origin, size=self.size)


class Node:
    """One node, from `start` to `stop`. `upstream` is its own way there, so that one can see who used it."""

    def __init__(
        self, folder: Path, settings: PeerSettings, upstream: MemorySource, fetching: FetchSettings = FAST
    ) -> None:
        self.settings = settings
        self.upstream = upstream
        self.router = Reports(upstream)
        self.access = Everyone(len(upstream.data))
        self.scheduler = Scheduler(fetching)
        self.peers = Peers(settings)
        router_for = self.peers.router_for(self._behind)
        self.cache = Cache(folder, OciLayout(folder), self.scheduler, router_for)
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._running = False

    @property
    def name(self) -> str:
        return self.settings.name

    def start(self) -> None:
        self._thread.start()
        self._ready.result(TIMEOUT)
        self._running = True

    def stop(self) -> None:
        if self._running:
            self._running = False
            loop, stop = self._ready.result(TIMEOUT)
            loop.call_soon_threadsafe(stop.set)
            self._thread.join()

    def close(self) -> None:
        self.stop()
        self.cache.close()
        self.scheduler.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _behind(self, _: Descriptor, origins: Origins) -> Reports:
        return self.router

    async def _main(self) -> None:
        host, _, port = self.settings.listen.rpartition(":")
        stop = asyncio.Event()
        with socket.create_server((host, int(port))) as listener:
            async with self.peers.serving(CacheHoldings(self.cache), self.access, listener):
                self._ready.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()


@contextmanager
def free_addresses(count: int) -> Iterator[list[str]]:
    """Where nobody else can listen meanwhile: they are taken, but for whoever means to have one of them."""
    with ExitStack() as stack:
        addresses = []
        for _ in range(count):
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{taken.getsockname()[1]}")
        yield addresses


@contextmanager
def cluster(
    folder: Path,
    content: Content,
    count: int,
    *,
    zones: Sequence[str] = (),
    settings: PeerSettings | None = None,
    fetching: FetchSettings = FAST,
) -> Iterator[list[Node]]:
    """`count` nodes that know each other, over one upstream."""
    base = settings or PeerSettings(members=("x",), hold_seconds=0.5, suspect_seconds=0.3)
    with ExitStack() as stack:
        addresses = stack.enter_context(free_addresses(count))
        listed = [f"{a}={zones[n]}" if zones else a for n, a in enumerate(addresses)]
        nodes = []
        for n, address in enumerate(addresses):
            mine = replace(base, listen=address, members=tuple(listed), zone=zones[n] if zones else "")
            nodes.append(stack.enter_context(Node(folder / str(n), mine, MemorySource(content.data), fetching)))
        yield nodes


def pull(node: Node, content: Content, grid: Grid | None) -> bytes:
    """The whole blob, as a client of this node gets it."""
    with node.cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        data = bytearray()
        while len(data) < len(content.data):
            lease.need(len(data), min(8 << 20, len(content.data) - len(data)))
            n = lease.available(len(data))
            if not n:
                lease.when(len(data), 1).result(TIMEOUT)
                continue
            piece = lease.slice(len(data), n)
            data += os.pread(piece.fd, piece.size, piece.offset)
        return bytes(data)


def pull_all(nodes: Sequence[Node], content: Content, grid: Grid | None) -> list[bytes]:
    """All nodes at once; what each one got."""
    results: list[bytes] = [b""] * len(nodes)

    def run(n: int) -> None:
        results[n] = pull(nodes[n], content, grid)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(nodes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
