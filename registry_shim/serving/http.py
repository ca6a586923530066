"""HTTP for the distribution API: the one module that knows aiohttp. Blobs are sent by the kernel (`sendfile`)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Final

from aiohttp import ClientPayloadError, http_exceptions, web

from modelcar.errors import ModelcarError
from modelcar.layers.bytemap import FileSlice
from registry_shim.serving.messages import ClientGone, Content, Request, Response, Stream
from registry_shim.serving.sending import FileSender

__all__ = ["Handler", "listening"]

Handler = Callable[[Request], Awaitable[Response]]

_READ_AHEAD: Final = 1 << 19  # bytes a connection may hold before its client has to wait; it can hold twice this
_STALL_SECONDS: Final = 120.0  # a client that sends or takes nothing for so long is dropped
_KEEPALIVE_SECONDS: Final = 75.0
_GRACE_SECONDS: Final = 2.0  # what a request gets to finish in once we are told to stop
_GONE = (
    ConnectionError,
    TimeoutError,
    ClientPayloadError,
    web.RequestPayloadError,
    http_exceptions.HttpProcessingError,
)
_log = logging.getLogger("registry_shim")
_http_log = logging.getLogger("registry_shim.serving.http")


def _is_not_the_clients(record: logging.LogRecord) -> bool:
    """What a client got wrong it is told; nobody's log should fill with it."""
    return not (record.exc_info and isinstance(record.exc_info[1], http_exceptions.HttpProcessingError))


_http_log.addFilter(_is_not_the_clients)


@asynccontextmanager
async def listening(handler: Handler, listener: socket.socket) -> AsyncIterator[None]:
    """Answer what comes in on `listener` by `handler`; at the end, give running requests a moment to finish.

    When it is over no request is running any more.
    """
    sender = FileSender()
    running: set[asyncio.Task[Any]] = set()

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        with _among(running):
            try:
                return await _send(request, await handler(_received(request)), sender)
            except (ClientGone, *_GONE):
                return _hang_up(request)

    server = web.Server(
        serve,
        logger=_http_log,
        access_log=None,
        auto_decompress=False,  # digests are over the bytes as they were sent
        read_bufsize=_READ_AHEAD,
        keepalive_timeout=_KEEPALIVE_SECONDS,
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    site = web.SockSite(runner, listener, backlog=1024)
    await site.start()
    try:
        yield
    finally:
        await site.stop()
        await _finish(running)
        await runner.cleanup()
        sender.close()


@contextmanager
def _among(running: set[asyncio.Task[Any]]) -> Iterator[None]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine runs in one
    running.add(task)
    try:
        yield
    finally:
        running.discard(task)


async def _finish(running: set[asyncio.Task[Any]]) -> None:
    """aiohttp alone waits twice as long, starves uploads meanwhile, and leaves before cancelled requests have."""
    if running:
        await asyncio.wait(running, timeout=_GRACE_SECONDS)
    while running:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


class _Body:
    """A request's body as aiohttp receives it."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.length = request.content_length
        if self.length is None and not request.can_read_body:
            self.length = 0
        self._request = request

    async def batches(self, size: int) -> AsyncIterator[Sequence[bytes]]:
        content = self._request.content
        batch: list[bytes] = []
        held = 0
        gone: Exception | None = None
        try:
            await self._invite()
            while not content.at_eof():
                async with asyncio.timeout(_STALL_SECONDS):
                    piece, _ = await content.readchunk()
                batch.append(piece)
                held += len(piece)
                if held >= size:
                    yield batch
                    batch, held = [], 0
        except _GONE as e:
            gone = e
        if held:
            yield batch
        if gone is not None:
            raise ClientGone(str(gone))

    async def _invite(self) -> None:
        """Tell a client that waits for it (curl) to go on. Only now, so that a refusal saves it the sending."""
        if self._request.headers.get("Expect", "").lower() == "100-continue" and self._request.transport is not None:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _received(request: web.BaseRequest) -> Request:
    query = request.rel_url.query
    return Request(
        method=request.method,
        path=request.path,
        query={name: query.getall(name) for name in query},
        headers={name.lower(): value for name, value in request.headers.items()},
        body=_Body(request),
    )


async def _send(request: web.BaseRequest, response: Response, sender: FileSender) -> web.StreamResponse:
    headers = {**response.headers, "Server": "registry-shim"}
    if response.status not in (204, 304):
        headers["Content-Length"] = str(response.length)
    content = response.body
    if isinstance(content, bytes) or request.method == "HEAD" or response.status == 304:
        body = content if isinstance(content, bytes) and request.method != "HEAD" else None
        plain = web.Response(status=response.status, headers=headers, body=body)
        if "Expect" in request.headers and not request.content.at_eof():
            plain.force_close()  # whether the body that was not asked for comes all the same, nobody can tell
        async with asyncio.timeout(_STALL_SECONDS):
            await plain.prepare(request)
            await plain.write_eof()
            await request.writer.drain()  # aiohttp lets it lie in memory for as long as the client likes
        return plain
    stream = web.StreamResponse(status=response.status, headers=headers)
    try:
        await _stream(request, stream, content, sender)
    except (ModelcarError, OSError) as e:
        if isinstance(e, _GONE):
            raise
        _log.error("%s %s: %s", request.method, request.path, e)
        if not stream.prepared:
            return await _send(request, Response(status=500), sender)
        return _hang_up(request)  # short of its Content-Length, so the client knows
    return stream


async def _stream(
    request: web.BaseRequest, stream: web.StreamResponse, content: Content | Stream, sender: FileSender
) -> None:
    async with aclosing(_pieces(content)) as pieces:
        async for piece in pieces:  # the first one opens its file, before any promise is made
            if not stream.prepared:
                await stream.prepare(request)
            if isinstance(piece, FileSlice):
                if request.transport is None:
                    raise ConnectionResetError
                await sender.send(request.transport, piece)
            else:
                async with asyncio.timeout(_STALL_SECONDS):
                    await stream.write(piece)
    await stream.write_eof() if stream.prepared else await stream.prepare(request)


async def _pieces(content: Content | Stream) -> AsyncGenerator[bytes | FileSlice, None]:
    if isinstance(content, Content):
        with content.map.open(content.offset, content.size) as reader:
            for piece in reader.slices():
                yield piece
    else:
        async with aclosing(content.pieces()) as pieces:
            async for piece in pieces:
                yield piece


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=400)
