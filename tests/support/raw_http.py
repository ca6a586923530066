"""A listener within a test's own loop, and what raw bytes get from it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from modelcar.serving.http import Handler, Listening, listening
from modelcar.serving.messages import Request, Response

BUFFER: Final = 1 << 18
"""Bytes that a socket holds for a client that takes nothing: else each machine has its own idea, up to 32 MiB."""


class LoopClock:
    """The clock of the running loop, put forward where a test would wait: no pause of the machine is as long."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._ahead = 0.0
        loop.time = self._now  # type: ignore[method-assign]  # a clock of the test's

    def _now(self) -> float:
        return self._time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds

    async def until_done(self, task: asyncio.Task[bytes], step: float = 1.0) -> bytes:
        """Let time go by, `step` seconds at a time, until `task` is done."""
        while not task.done():
            self.advance(step)
            await asyncio.sleep(0.01)
        return await task


async def echo(request: Request) -> Response:
    """Says what it was asked, so that a test sees what a handler sees."""
    body = b"".join([b"".join(batch) async for batch in request.body.batches(1)])
    return Response(status=200, headers={"X-Path": request.path}, body=body or b"hello")


@asynccontextmanager
async def running(handler: Handler = echo, **options: Any) -> AsyncIterator[tuple[Listening, int]]:
    """A listener and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)  # connections inherit it
        async with listening(handler, listener, **options) as served:
            yield served, listener.getsockname()[1]


@asynccontextmanager
async def connected(
    port: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except BaseException:
        connection.close()
        raise
    name = "127.0.0.1" if context is not None else None
    reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes the connection."""
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:  # a pipe is broken for who was still writing
        return b""


async def ask(port: int, request: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """All that comes back until the server closes the connection."""
    async with connected(port, context) as (reader, writer):
        writer.write(request)
        return await rest(reader)


async def until_running(served: Listening, count: int) -> None:
    """Wait until so many requests are being answered."""
    async with asyncio.timeout(60):
        while served.running < count:  # noqa: ASYNC110  # the listener has no event for it
            await asyncio.sleep(0)


def head(*lines: str, method: str = "GET", target: str = "/v2/") -> bytes:
    """A request that asks to close the connection; `lines` are its other headers."""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode("latin-1")
