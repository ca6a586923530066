"""A registry within this process, for tests and demonstrations."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelcar.serving.address import Address
from registry_shim.mirror.settings import MirrorSettings
from registry_shim.operations.settings import NodeSettings
from registry_shim.server import serving

__all__ = ["running_mirror", "running_registry"]

_GRACE_SECONDS: Final = 2.0


@contextmanager
def running_registry(root: Path | None = None, *, writable: bool = True, deletable: bool = True) -> Iterator[str]:
    """Run a registry in a thread; yields `127.0.0.1:PORT`. Without `root` it lives in a temporary folder.

    >>> with running_registry() as registry:
    ...     print(registry.startswith("127.0.0.1:"))
    True
    """
    with _running(root, NodeSettings(writable=writable, deletable=deletable)) as address:
        yield address


@contextmanager
def running_mirror(mirror: MirrorSettings, root: Path | None = None, *, writable: bool = False) -> Iterator[str]:
    """As `running_registry`, in front of upstreams."""
    with _running(root, NodeSettings(writable=writable, mirror=mirror)) as address:
        yield address


@contextmanager
def _running(root: Path | None, settings: NodeSettings) -> Iterator[str]:
    with ExitStack() as stack:
        folder = root or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-")))
        started: Future[tuple[Address, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def main() -> None:
            stop = asyncio.Event()
            chosen = replace(settings, root=folder, listen="127.0.0.1:0", stop_seconds=_GRACE_SECONDS)
            async with serving(chosen) as service:
                started.set_result((service.address, asyncio.get_running_loop(), stop))
                await stop.wait()

        def body() -> None:
            try:
                asyncio.run(main())
            except BaseException as e:
                if started.done():
                    raise
                started.set_exception(e)

        thread = threading.Thread(target=body, name="registry", daemon=True)
        thread.start()
        where, loop, stop = started.result()
        try:
            yield str(where)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
