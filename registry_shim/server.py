"""The shim as a process: its folder, its listeners, its node, and the signals that end it."""

from __future__ import annotations

import asyncio
import resource
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from modelcar import __version__
from modelcar.errors import UsageError
from modelcar.renewed import Renewed
from modelcar.serving import http, logs
from modelcar.serving.address import Address, bound
from modelcar.serving.config.reading import load_file
from modelcar.serving.config.reloading import Reloader
from modelcar.serving.signals import Stop, handled
from registry_shim.folder import opened
from registry_shim.node import Node, node
from registry_shim.operations.admin.api import Admin
from registry_shim.operations.admin.control import control_listener
from registry_shim.operations.admin.parts import About, Parts
from registry_shim.operations.admin.revoked import Revoked
from registry_shim.operations.admin.tokens import RemoteAdmin
from registry_shim.operations.exposure import require_protection
from registry_shim.operations.service import Operations, operating
from registry_shim.operations.settings import NodeSettings
from registry_shim.operations.sights import Sights
from registry_shim.space.pushed import Pushed, PushedImage
from registry_shim.space.recent import Recent

__all__ = ["Service", "run", "serving"]

_THREADS: Final = 16  # they hash, write and wait for the disk; more would only queue there


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A shim that runs."""

    address: Address
    operations: Operations
    listening: http.Listening
    reloader: Reloader[NodeSettings] | None


@asynccontextmanager
async def serving(
    settings: NodeSettings, *, config: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> AsyncIterator[Service]:
    """A node, as `settings` say. The loop's default threads become ours, and end with us.

    `config`, the file that they come from, is read again when it changes; `overrides` go before what it says.

    Raises:
        UsageError: the address can be reached from outside, and `insecure` does not say that this is meant.
        WorldError: the address is taken, or the folder cannot be used or is used already.
        ModelcarError: a part cannot begin with these settings.
    """
    address, apart = _addresses(settings)
    root = settings.root or Path()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "registry-shim"))
    async with AsyncExitStack() as ending:
        ending.push_async_callback(loop.shutdown_default_executor)  # only then may another process have the folder
        layout = ending.enter_context(opened(root, keeps=settings.keeps))
        listener = ending.enter_context(bound(address))
        operations = await ending.enter_async_context(operating(settings, root, writes=settings.keeps))
        served = await ending.enter_async_context(node(root, layout, settings, operations.metrics))
        handler = operations.around(served.handle)
        remote = RemoteAdmin(settings.admin.tokens_file, handler) if settings.admin.tokens_file else None
        files = settings.tls
        tls = Renewed("the certificate", files.server_context, files.files) if files else None
        listening = await ending.enter_async_context(
            http.listening(
                remote.handle if remote else handler,
                listener,
                limits=settings.limits,
                tls=tls,
                observer=operations.observer,
                grace_seconds=settings.stop_seconds,
            )
        )
        if apart is not None:
            other = ending.enter_context(bound(apart))
            await ending.enter_async_context(http.listening(operations.pages, other, limits=settings.limits, tls=tls))
        operations.look_at(_sights(served, listening, settings))
        where = Address(address.host, listener.getsockname()[1])
        reloader = None
        if config is not None:
            appliers = _appliers(served, operations, listening, tls)
            reloader = Reloader(config, settings, partial(_read, config, overrides or {}), appliers)
        if served.revoked is not None:
            admin = _admin(where, settings, served, served.revoked, operations, reloader)
            control = ending.enter_context(control_listener(root))
            await ending.enter_async_context(http.listening(admin.handle, control))
            if remote is not None:
                remote.admin = admin
        if reloader is not None:
            ending.callback(asyncio.create_task(reloader.watch()).cancel)
        yield Service(address=where, operations=operations, listening=listening, reloader=reloader)


def run(
    settings: NodeSettings,
    *,
    ready: Callable[[Address], None],
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, a second one of which ends it at once; `ready` is told where it listens."""

    async def main() -> None:
        stop = Stop()
        reloading: Reloader[NodeSettings] | None = None
        with handled(stop, lambda: reloading.soon() if reloading else None):
            async with serving(settings, config=config, overrides=overrides) as service:
                reloading = service.reloader
                stop.hurry(service.listening.hurry)
                ready(service.address)
                service.operations.ready()
                await stop.asked.wait()
                service.operations.stopping()

    _allow_many_files()
    asyncio.run(main())


def _read(config: Path, overrides: Mapping[str, Any]) -> NodeSettings:
    return load_file(config, NodeSettings).overridden(overrides)


def _addresses(settings: NodeSettings) -> tuple[Address, Address | None]:
    """Where the main listener is, and that for metrics, if it is another."""
    found = []
    for text in (settings.listen, settings.metrics_listen):
        if text is None:
            continue
        address = Address.parse(text).resolved()
        require_protection(
            str(address),
            is_local=address.is_local(),
            tls=settings.tls,
            authentication=settings.authentication,
            insecure=settings.insecure,
        )
        found.append(address)
    return found[0], found[1] if len(found) > 1 else None


def _sights(served: Node, listening: http.Listening, settings: NodeSettings) -> Sights:
    own = Recent(Pushed(settings.root or Path()).images)

    def pushed() -> Sequence[PushedImage] | None:
        images = own.get()
        return images if images or settings.writable else None  # of a node that takes none there is nothing to say

    return Sights(
        connections=lambda: len(listening.connections),
        requests=lambda: listening.running,
        blobs=served.cache.status,
        space=Recent(served.space.status).get,
        gate=served.gate.status,
        peers=served.peers.membership.all if served.peers else dict,
        precache=served.precache.status,
        mounts=served.mounts.figures if served.mounts else tuple,
        pushed=pushed,
        mirrors=settings.mirrors,
    )


def _appliers(
    served: Node, operations: Operations, listening: http.Listening, tls: Renewed[ssl.SSLContext] | None
) -> dict[str, Callable[[NodeSettings], Awaitable[None] | None]]:
    """What may change while the node runs, and how it does. Policies and deny-lists are followed by the gate itself."""

    def limits(wanted: NodeSettings) -> None:
        listening.limits = wanted.limits

    def space(wanted: NodeSettings) -> None:
        served.space.settings = wanted.space

    def authentication(wanted: NodeSettings) -> None:
        _addresses(wanted)  # they must still be protected
        operations.authenticate(wanted)

    def certificates(wanted: NodeSettings) -> None:
        _addresses(wanted)
        if tls is None or wanted.tls is None:
            raise UsageError("whether there is TLS at all changes with a restart only")
        tls.adopt(wanted.tls.server_context, wanted.tls.files)

    return {
        "authentication": authentication,
        "limits": limits,
        "log": lambda wanted: logs.configure("registry-shim", wanted.log),
        "space": space,
        "tls": certificates,
        "precache": lambda wanted: served.precache.reload(wanted.precache),
        "mirror.upstreams": served.change,
        "gate": served.change,
        "fetch.rate": lambda wanted: served.scheduler.limit(wanted.fetch.rate),
    }


def _admin(
    address: Address,
    settings: NodeSettings,
    served: Node,
    revoked: Revoked,
    operations: Operations,
    reloader: Reloader[NodeSettings] | None,
) -> Admin:
    async def reload() -> None:
        if reloader is not None:
            await reloader.reload()

    async def drain() -> None:
        operations.health.stop()

    about = About(
        version=__version__,
        root=str(settings.root),
        address=str(address),
        started=time.time(),
        upstreams=tuple(upstream.registry for upstream in settings.mirror.upstreams),
    )
    parts = Parts(
        about=about,
        space=served.space,
        precache=served.precache,
        revoked=revoked,
        mounts=served.mounts,
        blobs=served.cache.status,
        gate=served.gate.status,
        peers=served.describe_peers,
        judge=served.gate.reload,
        rescan=served.rescan,
        reload=reload,
        drain=drain,
    )
    return Admin(parts)


def _allow_many_files() -> None:
    """Every transfer holds a socket and a file; the usual soft limit of 1024 is for programs that use select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
