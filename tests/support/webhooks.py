"""A webhook within a test's own loop, and clients that talk to it over TLS as an API server does."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelcar.admission.admit import Offline, Resolver
from modelcar.admission.server.service import Service, serving
from modelcar.admission.server.settings import ServerSettings, WebhookSettings
from modelcar.admission.settings import AdmissionSettings
from modelcar.serving.address import Address
from modelcar.serving.settings import Tls
from tests.support.authority import Authority

__all__ = ["Answered", "Client", "Running", "connect", "running", "webhook_settings"]


@dataclass(frozen=True)
class Answered:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(
        self, body: bytes = b"", *, method: str = "POST", target: str = "/mutate", kind: str | None = "application/json"
    ) -> Answered:
        """Send a request and read its answer; `ConnectionError` where there is none."""
        lines = [f"{method} {target} HTTP/1.1", "Host: webhook", f"Content-Length: {len(body)}"]
        if kind is not None:
            lines.append(f"Content-Type: {kind}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.answer()

    async def answer(self) -> Answered:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            raise ConnectionResetError("the webhook closed the connection") from None
        first, *lines = head.decode().rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Answered(int(first.split()[1]), headers, body)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connect(address: Address, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """A connection; with `context` over TLS."""
    client = Client(*await asyncio.open_connection(address.host, address.port, ssl=context))
    try:
        yield client
    finally:
        await client.close()


@dataclass(frozen=True)
class Running:
    """A webhook, and what its clients trust."""

    service: Service
    trust: ssl.SSLContext

    async def ask(self, body: bytes, **options: Any) -> Answered:
        """One request on a connection of its own."""
        async with connect(self.service.address, self.trust) as client:
            return await client.ask(body, **options)

    async def look(self, path: str) -> Answered:
        """What the kubelet or Prometheus see at `path`."""
        async with connect(self.service.operations) as client:
            return await client.ask(method="GET", target=path, kind=None)


def webhook_settings(settings: AdmissionSettings | None = None, **server: Any) -> WebhookSettings:
    """For loopback."""
    given = settings or AdmissionSettings()
    listening = {"listen": "127.0.0.1:0", "operations_listen": "127.0.0.1:0", "drain_seconds": 0.0}
    return WebhookSettings(
        rewriting=given.rewriting,
        cluster=given.cluster,
        trust=given.trust,
        enabled=given.enabled,
        server=ServerSettings(**{**listening, **server}),
    )


@asynccontextmanager
async def running(
    folder: Path, resolver: Resolver | None = None, settings: WebhookSettings | None = None, **options: Any
) -> AsyncIterator[Running]:
    """A webhook with a certificate of its own in `folder`; `options` are those of `serving`."""
    authority = Authority(folder)
    certificate, key = authority.issue_for_loopback("webhook")
    settings = settings or webhook_settings()
    server = replace(settings.server, tls=Tls(certificate_file=certificate, key_file=key))
    trust = ssl.create_default_context(cafile=authority.ca_file)
    async with serving(replace(settings, server=server), resolver or Offline(), **options) as service:
        yield Running(service, trust)
