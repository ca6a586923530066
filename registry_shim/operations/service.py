"""The operations of one node, put together: what the wiring of a node needs of this package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from modelcar.serving.authentication import Authenticator
from modelcar.serving.exchange import Observer
from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from registry_shim.operations.access import AccessLog, Observers
from registry_shim.operations.health import Health
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.notify import notify, watchdog
from registry_shim.operations.pages import Pages
from registry_shim.operations.settings import NodeSettings
from registry_shim.operations.sights import Sights
from registry_shim.operations.tracing import Tracing
from registry_shim.operations.ui.page import StatusPage

__all__ = ["Operations", "operating"]

Handler = Callable[[Request], Awaitable[Response]]


class Operations:
    """Give `metrics.fetching`, `.cache`, `.space` and `.gate` to the parts, `observer` to the listener."""

    def __init__(self, settings: NodeSettings, metrics: Metrics, health: Health, tracing: Tracing | None) -> None:
        self.metrics = metrics
        self.health = health
        self.tracing = tracing
        observers: list[Observer] = [metrics.http, AccessLog()]
        self.observer = Observers([*observers, tracing] if tracing is not None else observers)
        self._settings = settings
        self._authenticator = Authenticator(settings.authentication)
        self._status = StatusPage(metrics.totals, health.unready)
        self._pages = Pages(health, metrics, self._status)

    def look_at(self, sights: Sights) -> None:
        """Show these, as metrics and on the status page."""
        self.metrics.look_at(sights)
        self._status.sights = sights

    def around(self, handler: Handler) -> Handler:
        """What the main listener answers with: who asks is asked first, then come our pages, then `handler`."""
        elsewhere = self._settings.metrics_listen is not None
        return self._authenticator.guard(self._pages.around(handler, only_health=elsewhere))

    @property
    def pages(self) -> Handler:
        """What the listener at `metrics_listen` answers with."""
        return self._authenticator.guard(self._pages.handle)

    def authenticate(self, settings: NodeSettings) -> None:
        """Let in whom these settings name, from now on. Raises `UsageError`, `StorageError`; nothing changes then."""
        self._authenticator.adopt(settings.authentication)

    def ready(self) -> None:
        """The node serves: tell systemd."""
        notify("READY=1")

    def stopping(self) -> None:
        """The node is about to end: no longer ready, and systemd knows."""
        self.health.stop()
        notify("STOPPING=1")


@asynccontextmanager
async def operating(settings: NodeSettings, root: Path, *, writes: bool) -> AsyncIterator[Operations]:
    """The operations of the node over `root`. `writes`: whether it needs to write there.

    Raises:
        UsageError, StorageError: what `authentication` or `traces` names cannot be used.
        ModelcarError: traces are configured, and OpenTelemetry is not installed.
    """
    async with AsyncExitStack() as stack:
        health = Health(root, writes=writes)
        tracing = Tracing(settings.traces) if settings.traces is not None else None
        if tracing is not None:
            stack.push_async_callback(in_thread, tracing.close)
        metrics = Metrics(fetched=tracing.fetched) if tracing is not None else Metrics()
        operations = Operations(settings, metrics, health, tracing)
        await health.start()
        stack.push_async_callback(health.close)
        feeding = asyncio.create_task(watchdog(health))
        stack.callback(feeding.cancel)
        yield operations
