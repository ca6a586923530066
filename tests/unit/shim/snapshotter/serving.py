"""A gRPC server within a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from modelcar.errors import NotFound
from registry_shim.snapshotter.grpc import Explain, Handler, Status, connection_factory

__all__ = ["explained", "served"]


def explained(error: Exception) -> tuple[Status, str]:
    return (Status.NOT_FOUND if isinstance(error, NotFound) else Status.UNKNOWN), str(error)


@contextmanager
def served(path: Path, methods: dict[str, Handler], *, explain: Explain = explained) -> Iterator[None]:
    """In a thread with a loop of its own."""
    started, end = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loops.append(loop)
        with ThreadPoolExecutor(8) as threads:
            server = await loop.create_unix_server(connection_factory(methods, explain, threads), str(path))
            started.set()
            await end.wait()
            server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield
    finally:
        loops[0].call_soon_threadsafe(end.set)
        thread.join(30)
