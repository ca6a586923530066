"""The shim as a process: its folder, its listeners, its node, and the signals that end it."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.errors import UsageError
from registry_shim.folder import opened
from registry_shim.node import Node, node
from registry_shim.operations import logs
from registry_shim.operations.access import AccessLog, Observers
from registry_shim.operations.health import Health
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.notify import notify, watchdog
from registry_shim.operations.pages import Pages
from registry_shim.operations.reload import Apply, Reloader
from registry_shim.operations.settings import NodeSettings
from registry_shim.operations.sights import Sights
from registry_shim.operations.ui.page import StatusPage
from registry_shim.serving import http
from registry_shim.serving.address import Address, bound
from registry_shim.serving.authentication import Authenticator
from registry_shim.serving.tls import ServerTls

__all__ = ["Service", "run", "serving"]

_THREADS: Final = 16  # they hash, write and wait for the disk; more would only queue there


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A shim that runs: where it listens, and how it is hurried and changed."""

    address: Address
    node: Node
    health: Health
    hurry: Callable[[], None]
    """Cut off requests that are still running while it ends."""
    appliers: Mapping[str, Apply]
    """What of the settings can change while it runs, and how."""


@asynccontextmanager
async def serving(settings: NodeSettings) -> AsyncIterator[Service]:
    """A node, as `settings` say. The loop's default threads become ours, and end with us.

    Raises:
        UsageError: the address can be reached from outside, and `insecure` does not say that this is meant.
        WorldError: the address is taken, or the folder cannot be used or is used already.
        ModelcarError: a part cannot begin with these settings.
    """
    target = Address.parse(settings.listen).resolved()
    _check_guarded(target, settings)
    root = settings.root or Path()
    keeps = settings.writable or bool(settings.mirror.upstreams)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "registry-shim"))
    async with AsyncExitStack() as ending:
        ending.push_async_callback(loop.shutdown_default_executor)
        tls = ServerTls(settings.tls) if settings.tls else None
        guard = Authenticator(settings.authentication).guard
        layout = ending.enter_context(opened(root, keeps=keeps))
        listener = ending.enter_context(bound(target))
        metrics, health = Metrics(), Health(root, writes=keeps)
        ending.push_async_callback(health.close)
        served = await ending.enter_async_context(node(root, layout, settings, metrics))
        page = StatusPage(metrics.totals, health.unready)
        pages = Pages(health, metrics, page)
        observer = Observers((metrics.http, AccessLog()))
        apart = settings.metrics_listen
        handler = guard(pages.around(served.handle, only_health=apart is not None))
        listening = await ending.enter_async_context(
            http.listening(
                handler,
                listener,
                limits=settings.limits,
                tls=tls,
                observer=observer,
                grace_seconds=settings.stop_seconds,
            )
        )
        if apart is not None:
            own = ending.enter_context(bound(Address.parse(apart).resolved()))
            await ending.enter_async_context(http.listening(guard(pages.handle), own, limits=settings.limits, tls=tls))
        sights = Sights(
            connections=lambda: len(listening.connections),
            requests=lambda: listening.running,
            blobs=served.cache.status,
            space=served.space.status,
            gate=served.gate.status,
            peers=served.peers.membership.all if served.peers else dict,
            precache=served.precache.status,
        )
        metrics.look_at(sights)
        page.sights = sights
        await health.start()
        address = Address(target.host, listener.getsockname()[1])
        ending.callback(health.stop)  # the first thing when it ends
        yield Service(
            address=address,
            node=served,
            health=health,
            hurry=listening.hurry,
            appliers=_appliers(served, listening),
        )


def _appliers(served: Node, listening: http.Listening) -> Mapping[str, Apply]:
    def limits(settings: NodeSettings) -> None:
        listening.limits = settings.limits

    def space(settings: NodeSettings) -> None:
        served.space.settings = settings.space

    return {
        "limits": limits,
        "log": lambda settings: logs.configure(settings.log),
        "space": space,
        "precache": lambda settings: served.precache.reload(settings.precache),
        "fetch.rate": lambda settings: served.scheduler.limit(settings.fetch.rate),
    }


def _check_guarded(address: Address, settings: NodeSettings) -> None:
    """Beyond this machine only with TLS and a question who asks, or when somebody says that it is meant."""
    asks = settings.authentication.required or (settings.tls is not None and settings.tls.client_ca_file is not None)
    if address.is_local() or settings.insecure or (settings.tls is not None and asks):
        return
    lacks = "TLS" if settings.tls is None else "authentication"
    both = "there is neither TLS nor a password" if settings.tls is None and not asks else f"there is no {lacks}"
    raise UsageError(
        f"{address} can be reached from other machines, and {both}",
        hint="listen on 127.0.0.1, or say --insecure if your network protects it",
    )


def run(
    settings: NodeSettings,
    *,
    ready: Callable[[Address], None],
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, a second one of which ends it at once; `ready` is told where it listens.

    `config`, the file that `settings` come from, is read again when it changes and on SIGHUP; `overrides` go before it.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with serving(settings) as service:
            ready(service.address)
            notify("READY=1")
            async with _beside(watchdog(service.health), *_reloading(service, settings, config, overrides)):
                await stop.wait()
            notify("STOPPING=1")
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, service.hurry)

    _allow_many_files()
    asyncio.run(main())


def _reloading(
    service: Service, settings: NodeSettings, config: Path | None, overrides: Mapping[str, Any] | None
) -> Iterator[Coroutine[Any, Any, None]]:
    """What follows the configuration file, if there is one."""
    if config is None:
        return
    reloader = Reloader(config, settings, service.appliers, overrides=overrides)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(reloader.reload()))
    yield reloader.watch()


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run this during the block."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _allow_many_files() -> None:
    """Every transfer holds a socket and a file; the usual soft limit of 1024 is for programs that use select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
