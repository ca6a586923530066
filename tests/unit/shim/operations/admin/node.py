"""A node to administer: real space and pre-caching over a folder, and a gate that remembers what it was told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelcar.errors import NotFound, UsageError
from modelcar.oci import Reference
from modelcar.serving import http
from modelcar.serving.http import Handler
from registry_shim.operations.admin.api import Admin
from registry_shim.operations.admin.control import control_listener
from registry_shim.operations.admin.parts import About, MountsPart, Parts
from registry_shim.operations.admin.revoked import Revoked
from registry_shim.precache.precache import Precache
from registry_shim.precache.settings import PrecacheSettings
from tests.unit.shim.precache.doors import FakeNode
from tests.unit.shim.space.node import Node


@dataclass
class Administered:
    """`node` has the disk, `images` what pre-caching finds upstream."""

    node: Node
    upstream: FakeNode = field(default_factory=FakeNode)
    calls: list[str] = field(default_factory=list)
    readable: bool = True
    rescanned: dict[str, Any] | None = None
    """What becomes of images that are scanned again; `None`: there is none."""
    mounts: MountsPart | None = None

    @contextmanager
    def parts(self) -> Iterator[Parts]:
        space = self.node.space()
        space.start(self.node.content)
        precache = Precache(self.node.root, PrecacheSettings(interval=0.05), self.upstream.doors, lambda _t, _n: ())
        precache.start()
        try:
            yield Parts(
                about=About(version="1", root="/root", address="127.0.0.1:5000", started=1.0, upstreams=("r.example",)),
                space=space,
                precache=precache,
                revoked=Revoked(self.node.root / "revoked.yaml"),
                blobs=tuple,
                judge=self._judge,
                rescan=self._rescan,
                reload=self._reload,
                drain=self._drain,
                mounts=self.mounts,
            )
        finally:
            precache.close()
            space.close()

    @contextmanager
    def admin(self) -> Iterator[Admin]:
        with self.parts() as parts:
            yield Admin(parts)

    async def _judge(self) -> bool:
        self.calls.append("judge")
        return self.readable

    async def _rescan(self, reference: Reference) -> dict[str, Any]:
        if self.rescanned is None:
            raise NotFound(f"{reference} was never pulled")
        return {"reference": str(reference), **self.rescanned}

    async def _reload(self) -> None:
        self.calls.append("reload")
        if not self.readable:
            raise UsageError("node.yaml:3: spase is not a setting; did you mean space?")

    async def _drain(self) -> None:
        self.calls.append("drain")


@contextmanager
def listening(root: Path, handler: Handler) -> Iterator[None]:
    """Serve the control socket in a thread."""
    with ExitStack() as stack:
        listener = stack.enter_context(control_listener(root))
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def main() -> None:
            stop = asyncio.Event()
            async with http.listening(handler, listener):
                started.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        loop, stop = started.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
