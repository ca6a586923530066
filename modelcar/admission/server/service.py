"""The webhook, running: its listeners, its certificates, its configuration, and the signals that end it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.admission.admit import Resolver
from modelcar.admission.server.decisions import Decisions
from modelcar.admission.server.keeping import Keeper, Vault
from modelcar.admission.server.metrics import Metrics
from modelcar.admission.server.settings import ServerSettings, WebhookSettings
from modelcar.admission.server.webhook import Operations, Webhook
from modelcar.admission.settings import TrustSettings
from modelcar.errors import UsageError
from modelcar.renewed import Renewed
from modelcar.serving import http, logs
from modelcar.serving.address import Address, bound
from modelcar.serving.config.reading import load_file
from modelcar.serving.config.reloading import Reloader
from modelcar.serving.settings import Limits
from modelcar.serving.signals import Stop, handled
from modelcar.serving.threads import in_thread
from modelcar.tls import Contexts

__all__ = ["PROGRAM", "Service", "run", "serving"]

PROGRAM: Final = "modelcar-admission"
_OPERATIONS_LIMITS: Final = Limits(connections=64, connections_per_client=64)
_log = logging.getLogger("modelcar.admission")

Overridden = Callable[[WebhookSettings], WebhookSettings]
Retrusted = Callable[[TrustSettings], None]


def _as_it_is(settings: WebhookSettings) -> WebhookSettings:
    return settings


def _whatever(_: TrustSettings) -> None:
    pass


class Health:
    """Whether this process lives (else restart it) and is ready (else send nobody)."""

    def __init__(self, decisions: Decisions) -> None:
        self.problem: str | None = "it is starting"
        self._decisions = decisions

    def unready(self) -> str | None:
        """Why nobody should be sent here, if so."""
        return self.problem or self.dead()

    def dead(self) -> str | None:
        """Why it should be restarted, if so. That the event loop turns is seen by there being an answer."""
        return "no decision is made any more" if self._decisions.stuck() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A webhook that runs, and is ready until `drain`."""

    address: Address
    operations: Address
    listening: http.Listening
    webhook: Webhook
    health: Health
    reloader: Reloader[WebhookSettings] | None
    keeper: Keeper | None

    def drain(self) -> None:
        """Not ready from now on, and every answer the last one of its connection."""
        self.health.problem = "it is stopping"
        self.webhook.stopping = True


@asynccontextmanager
async def serving(
    settings: WebhookSettings,
    resolver: Resolver,
    *,
    vault: Vault | None = None,
    config: Path | None = None,
    overridden: Overridden = _as_it_is,
    retrusted: Retrusted = _whatever,
) -> AsyncIterator[Service]:
    """A webhook as `settings` say; `config`, the file that they come from, is read again when it changes, and what
    `overridden` makes of it counts. `retrusted` is told of other policies; where it raises all stays as it was.

    `vault` keeps its own certificates, where `server.tls` names none.

    Raises:
        UsageError: there is neither; or a file of `server.tls` is no certificate.
        WorldError: an address is taken, or the vault cannot be used.
    """
    server = settings.server
    async with AsyncExitStack() as ending:
        listener = ending.enter_context(bound(Address.parse(server.listen).resolved()))
        other = ending.enter_context(bound(Address.parse(server.operations_listen).resolved()))
        decisions = Decisions(settings, resolver, threads=server.decisions, waiting=server.waiting)
        ending.push_async_callback(in_thread, decisions.close)
        metrics, health = Metrics(), Health(decisions)
        pages = Operations(metrics, unready=health.unready, dead=health.dead)
        await ending.enter_async_context(http.listening(pages.handle, other, limits=_OPERATIONS_LIMITS))
        contexts, keeper = await _contexts(server, vault, ending)
        metrics.look_at(
            enabled=lambda: decisions.settings.enabled,
            accepted=lambda: decisions.accepted,
            until=lambda: keeper.until if keeper else 0.0,
        )
        webhook = Webhook(
            decisions,
            metrics,
            request_seconds=server.request_seconds,
            body_bytes=server.body_bytes,
            bodies_bytes=server.bodies_bytes,
        )
        grace = server.stop_seconds
        listening = await ending.enter_async_context(
            http.listening(webhook.handle, listener, limits=server.limits, tls=contexts, grace_seconds=grace)
        )
        reloader = _reloader(config, settings, overridden, retrusted, decisions) if config is not None else None
        if reloader is not None:
            ending.callback(asyncio.create_task(reloader.watch()).cancel)
        health.problem = None
        yield Service(
            address=Address(*listener.getsockname()[:2]),
            operations=Address(*other.getsockname()[:2]),
            listening=listening,
            webhook=webhook,
            health=health,
            reloader=reloader,
            keeper=keeper,
        )


def run(
    settings: WebhookSettings,
    resolver: Resolver,
    *,
    vault: Vault | None = None,
    config: Path | None = None,
    overridden: Overridden = _as_it_is,
    retrusted: Retrusted = _whatever,
    ready: Callable[[Service], None],
) -> None:
    """Serve until SIGTERM or SIGINT, a second one of which ends it at once; `ready` is told when it listens.

    Between the signal and the end `server.drain_seconds` pass, in which everybody else hears of it.
    """

    async def main() -> None:
        running = serving(settings, resolver, vault=vault, config=config, overridden=overridden, retrusted=retrusted)
        stop = Stop()
        reloading: Reloader[WebhookSettings] | None = None
        with handled(stop, lambda: reloading.soon() if reloading else None):
            async with running as service:
                reloading = service.reloader
                hurried = asyncio.Event()
                stop.hurry(hurried.set)
                stop.hurry(service.listening.hurry)
                gc.freeze()  # what is here now stays: no need to look through it while somebody waits
                ready(service)
                await stop.asked.wait()
                service.drain()
                _log.warning("it stops: no more than %d requests are under way", service.listening.running)
                await _pause(hurried, settings.server.drain_seconds)

    asyncio.run(main())


async def _pause(hurried: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await hurried.wait()
    except TimeoutError:
        pass


async def _contexts(
    server: ServerSettings, vault: Vault | None, ending: AsyncExitStack
) -> tuple[Contexts, Keeper | None]:
    if server.tls is not None:
        return Renewed("the certificate", server.tls.server_context, server.tls.files), None
    own = server.certificates
    if vault is None or own.namespace is None:
        raise UsageError(
            "there is no certificate: the webhook runs in no cluster, where it would make one",
            hint="server.tls names certificate_file and key_file",
        )
    service = f"{own.service}.{own.namespace}"
    keeper = Keeper(vault, [f"{service}.svc", f"{service}.svc.cluster.local", service, own.service], own.lifetimes)
    await keeper.start()
    ending.callback(asyncio.create_task(keeper.watch()).cancel)
    return keeper, keeper


def _reloader(
    config: Path, settings: WebhookSettings, overridden: Overridden, retrusted: Retrusted, decisions: Decisions
) -> Reloader[WebhookSettings]:
    async def decide(wanted: WebhookSettings) -> None:
        if wanted.trust != decisions.settings.trust:
            await in_thread(retrusted, wanted.trust)
        decisions.settings = wanted

    def log(wanted: WebhookSettings) -> None:
        logs.configure(PROGRAM, wanted.server.log)

    def read() -> WebhookSettings:
        return overridden(load_file(config, WebhookSettings))

    deciding = dict.fromkeys(("cluster", "enabled", "rewriting", "trust"), decide)
    return Reloader(config, settings, read, {**deciding, "server.log": log})
