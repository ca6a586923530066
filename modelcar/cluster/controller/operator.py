"""The controller as a process: kopf follows the objects, and a pass is made whenever something has changed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import repeat
from typing import Any, Final

import kopf

from modelcar.cluster.access import Access
from modelcar.cluster.api import Cluster
from modelcar.cluster.controller.known_objects import KINDS, Known
from modelcar.cluster.controller.session import session
from modelcar.cluster.controller.writing import carry_out
from modelcar.cluster.names import timestamp
from modelcar.cluster.plan import plan
from modelcar.cluster.resources import MODEL_CACHES, Resource
from modelcar.errors import ClusterError, ObjectNotFound, WorldError
from modelcar.registry.cancel import Cancelled, CancelScope
from modelcar.serving.threads import in_thread
from modelcar.tls import verifying

__all__ = ["Controller", "ControllerSettings", "run"]

_log = logging.getLogger("modelcar.controller")
_TOKEN: Final = timedelta(minutes=10)  # a service account's is renewed every hour or so


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """Times are seconds."""

    pause: float = 2.0
    """Between two passes, at least."""
    look: float = 30.0
    """Between two passes where nothing seems to change: pods that hold a ModelCache end without a word to us."""
    refresh: float = 300.0
    """Between two lists of everything."""
    patience: float = 5.0
    """Before what failed is tried again."""


class Controller:
    """Makes passes. `changed` is set by whoever learns of something new."""

    def __init__(self, cluster: Cluster, settings: ControllerSettings) -> None:
        self.known = Known()
        self.changed = asyncio.Event()
        self.passed: datetime | None = None
        """When the last pass ended well."""
        self.defect: BaseException | None = None
        """What ended `run`, other than being cancelled."""
        self._cluster = cluster
        self._settings = settings
        self._scope = CancelScope()

    async def run(self) -> None:
        """Until `stop`."""
        settings, loop = self._settings, asyncio.get_running_loop()
        refreshed = float("-inf")
        while True:
            self.changed.clear()
            try:
                if loop.time() - refreshed >= settings.refresh:
                    await in_thread(self._scope.run, partial(self.known.refresh, self._cluster))
                    refreshed = loop.time()
                failures = await in_thread(self._pass)
            except ClusterError as e:
                failures = [e]
            except Cancelled:
                return
            for failure in failures[:10]:
                _log.warning("%s", failure)
            if not failures:
                self.passed = datetime.now(UTC)
            await asyncio.sleep(settings.patience if failures else settings.pause)
            if not failures:
                await self._wait(settings.look)

    def stop(self) -> None:
        """End a pass that runs, at once."""
        self._scope.cancel()

    def _pass(self) -> list[ClusterError]:
        with self._scope.active():
            return self.reconcile()

    def reconcile(self) -> list[ClusterError]:
        """One pass; returns what failed. Raises `ClusterError` where not even pods can be listed."""
        view = self.known.view(self._cluster)
        return carry_out(self._cluster, view, plan(view, timestamp()))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)


async def run(
    cluster: Cluster,
    access: Access,
    settings: ControllerSettings | None = None,
    *,
    liveness: str | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Until a signal comes, or `stop` is set. `liveness` is where kopf says that it lives: `http://HOST:PORT/healthz`.

    Raises:
        ClusterError: the API server cannot be asked at all.
        WorldError: something else ended it, a defect of ours, say: whoever runs it starts it again.
    """
    chosen = settings or ControllerSettings()
    controller = Controller(cluster, chosen)
    while not await in_thread(_is_installed, cluster):
        _log.warning("there are no ModelCaches in this cluster yet: modelcar manifests | kubectl apply -f -")
        await asyncio.sleep(chosen.patience)
    ended = stop or asyncio.Event()
    try:
        await kopf.operator(
            registry=_registry(controller, access, ended),
            settings=_kopf_settings(),
            clusterwide=True,
            standalone=True,
            liveness_endpoint=liveness,
            stop_flag=ended,
        )
    except Exception as e:  # kopf's, aiohttp's, or the system's: a port that is taken
        raise WorldError(f"the controller ended: {str(e) or type(e).__name__}") from e
    if controller.defect is not None:
        kind = type(controller.defect).__name__
        raise WorldError(f"the controller ended: internal error: {kind}: {controller.defect}") from controller.defect


def _is_installed(cluster: Cluster) -> bool:
    try:
        cluster.list(MODEL_CACHES)
    except ObjectNotFound:
        return False
    return True


class _Patience:
    """Seconds between attempts to reach an API server that is away: without end, where kopf's own list ends it."""

    def __iter__(self) -> Iterator[float]:
        yield from (1.0, 2.0, 5.0, 10.0)
        yield from repeat(20.0)


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # its own events about our handlers are nobody's business
    settings.networking.error_backoffs = _Patience()
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    return settings


def _registry(controller: Controller, access: Access, stop: asyncio.Event) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    tasks: set[asyncio.Task[None]] = set()

    def done(task: asyncio.Task[None]) -> None:
        controller.defect = None if task.cancelled() else task.exception()
        stop.set()  # kopf would live on without it, and look well

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return session(connection(access))

    @kopf.on.startup(registry=registry)
    async def begin(**_: Any) -> None:
        task = asyncio.create_task(controller.run(), name="modelcar-controller")
        task.add_done_callback(done)
        tasks.add(task)

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        controller.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @kopf.on.probe(registry=registry, id="passed")
    def passed(**_: Any) -> str | None:
        return controller.passed.isoformat() if controller.passed else None

    for resource in KINDS:
        _follow(registry, resource, controller)
    return registry


def _follow(registry: kopf.OperatorRegistry, resource: Resource, controller: Controller) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
    async def note(event: Mapping[str, Any], **_: Any) -> None:
        if controller.known.note(resource, event.get("type"), event["object"]):
            controller.changed.set()


class _Connection(kopf.ConnectionInfo):
    """Verifies as our own `Access` does."""

    def as_ssl_context(self) -> ssl.SSLContext:
        return verifying(super().as_ssl_context())


def connection(access: Access) -> kopf.ConnectionInfo:
    """The same API server and identity, in kopf's words."""
    pair = access.certificate.decode() if access.certificate else None
    return _Connection(
        server=access.server,
        ca_data=access.authority.decode() if access.authority else None,
        certificate_data=pair,
        private_key_data=pair,
        token=access.token() or None,
        expiration=datetime.now(UTC) + _TOKEN,
    )
