"""HTTP for the distribution API: the one module that knows aiohttp. Blobs are sent by the kernel (`sendfile`)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, cast

from aiohttp import ClientPayloadError, http_exceptions, web

from modelcar.errors import ModelcarError
from modelcar.layers.bytemap import FileSlice
from modelcar.serving.accepting import Acceptor
from modelcar.serving.checks import Refusal, check_head
from modelcar.serving.connections import Connections, HeadReader, Slot
from modelcar.serving.exchange import Exchange, Meter, NoObserver, Observer
from modelcar.serving.messages import ClientGone, Content, Request, Response, Stream
from modelcar.serving.pace import Pace
from modelcar.serving.sending import FileSender
from modelcar.serving.settings import Limits
from modelcar.tls import Contexts, subject_of

__all__ = ["Handler", "Listening", "listening"]

Handler = Callable[[Request], Awaitable[Response]]

_NAME: Final = "modelcar"
_READ_AHEAD: Final = 1 << 19  # bytes a connection may hold before its client has to wait; it can hold twice this
_GRACE_SECONDS: Final = 2.0  # what a request gets to finish in once we are told to stop
_BODY_STEP: Final = 1 << 14  # bytes that a client sends before it stalls; one that drips slower is dropped as well
_STEP: Final = 1 << 18  # bytes of an answer that are sent at once: how fast a client takes them is seen after each
_LINGER_SECONDS: Final = 2.0  # so long the body of a request that was refused is read, for the client to hear why
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_GONE = (
    ConnectionError,
    TimeoutError,
    ClientPayloadError,
    web.RequestPayloadError,
    http_exceptions.HttpProcessingError,
)
_log = logging.getLogger("modelcar.serving")
_http_log = logging.getLogger("modelcar.serving.http")


def _is_not_the_clients(record: logging.LogRecord) -> bool:
    """What a client got wrong it is told; nobody's log should fill with it."""
    return not (record.exc_info and isinstance(record.exc_info[1], http_exceptions.HttpProcessingError))


_http_log.addFilter(_is_not_the_clients)


@asynccontextmanager
async def listening(
    handler: Handler,
    listener: socket.socket,
    *,
    limits: Limits | None = None,
    tls: Contexts | None = None,
    observer: Observer | None = None,
    grace_seconds: float = _GRACE_SECONDS,
) -> AsyncIterator[Listening]:
    """Answer what comes in on `listener` by `handler`; at the end, give running requests `grace_seconds` to finish.

    When it is over no request is running any more.
    """
    served = Listening(handler, listener, limits or Limits(), tls, observer or NoObserver())
    served.start()
    try:
        yield served
    finally:
        await served.stop(grace_seconds)


class Listening:
    """What goes on at one listener."""

    def __init__(
        self,
        handler: Handler,
        listener: socket.socket,
        limits: Limits,
        tls: Contexts | None,
        observer: Observer,
    ) -> None:
        self.connections = Connections(limits)
        self._handler = handler
        self._observer = observer
        self._running: set[asyncio.Task[Any]] = set()
        self._sender = FileSender()
        self._server = web.Server(self._serve)
        self._acceptor = Acceptor(listener, self.connections, self._protocol, tls)
        self._stopping = False
        self._hurry = asyncio.Event()

    @property
    def limits(self) -> Limits:
        """May be replaced at any time: connections and requests that are there stay."""
        return self.connections.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.connections.limits = limits

    @property
    def running(self) -> int:
        """Requests being answered."""
        return len(self._running)

    def start(self) -> None:
        self._acceptor.start()

    def hurry(self) -> None:
        """Cut the grace period of `stop` short."""
        self._hurry.set()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new requests, and end when the last is answered, or broken off."""
        self._stopping = True
        await self._acceptor.close()
        for slot in self.connections.waiting:
            slot.drop()
        await self._finish(grace_seconds)
        self._server.pre_shutdown()
        await self._server.shutdown(_GRACE_SECONDS)
        self._sender.close()

    async def _finish(self, grace_seconds: float) -> None:
        """aiohttp alone waits twice as long, starves uploads meanwhile, and leaves before cancelled requests have."""
        hurry = asyncio.ensure_future(self._hurry.wait())
        if self._running:
            done = asyncio.ensure_future(asyncio.wait(set(self._running)))
            await asyncio.wait([done, hurry], timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
            done.cancel()
        hurry.cancel()
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)

    def _protocol(self, slot: Slot) -> asyncio.Protocol:
        limits = self.limits
        return _Connection(
            self._server,
            slot,
            limits,
            loop=asyncio.get_running_loop(),
            logger=_http_log,
            access_log=None,
            auto_decompress=False,  # digests are over the bytes as they were sent
            read_bufsize=_READ_AHEAD,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=_LINGER_SECONDS,
            max_field_size=limits.header_bytes,
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("_Connection", request.protocol)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in one
        self._running.add(task)
        connection.begin(task)
        try:
            return await self._answer(request, connection)
        finally:
            connection.end()
            self._running.discard(task)

    async def _answer(self, request: web.BaseRequest, connection: _Connection) -> web.StreamResponse:
        limits = self.limits
        meter = Meter(connection.pace)
        sending = _Sending(request, self._sender, meter, limits.stall_seconds, last=self._stopping)
        try:
            received = _received(request, connection, limits)
            if len(self._running) > limits.requests and not self.connections.drop_slowest():
                raise Refusal(503, "there is too much to do; try again in a moment")
        except Refusal as e:
            return await _told(sending, e.response())
        return await self._handled(received, sending)

    async def _handled(self, received: Request, sending: _Sending) -> web.StreamResponse:
        began = asyncio.get_running_loop().time()
        response: Response | None = None
        complete = False
        self._observer.begun(received)
        try:
            response = await self._handler(received)
            answer = await sending.send(response)
            complete = not sending.broken
            return answer
        except (ClientGone, *_GONE):
            return sending.hang_up()
        finally:
            seconds = asyncio.get_running_loop().time() - began
            self._observer.finished(
                Exchange(
                    request=received,
                    response=response,
                    sent=sending.meter.sent,
                    seconds=seconds,
                    complete=complete,
                )
            )


async def _told(sending: _Sending, response: Response) -> web.StreamResponse:
    try:
        return await sending.send(response)
    except _GONE:
        return sending.hang_up()


class _Connection(web.RequestHandler):
    """aiohttp's connection, within our limits: headers of a bounded size, in a bounded time."""

    def __init__(self, server: web.Server, slot: Slot, limits: Limits, **options: Any) -> None:
        super().__init__(server, **options)
        self.client = ""
        self.subject: str | None = None
        self.pace = slot.pace
        self._slot = slot
        self._task: asyncio.Task[Any] | None = None
        self._limits = limits
        self._head = HeadReader()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self.subject = subject_of(transport.get_extra_info("peercert"))
        self._slot.drop = self.drop
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        self._slot.release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests() and not self._admits(data):
            return
        super().data_received(data)

    def _is_between_requests(self) -> bool:
        """Whether what comes now are headers. aiohttp alone knows whether a body goes on: it comes before its handler
        begins and after that has ended, too."""
        return self._waiter is not None and not self._waiter.done()

    def _admits(self, data: bytes) -> bool:
        ended = self._head.feed(data)
        if self._head.size > self._limits.header_bytes:
            if self.transport is not None:
                self.transport.write(_TOO_LARGE)
            self.force_close()
            return False
        if ended:
            self._stop_timer()
            self._head.reset()
        elif self._timer is None and self._head.size:
            self._timer = asyncio.get_running_loop().call_later(self._limits.header_seconds, self.drop)
        return True

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """In our words: aiohttp's own name the libraries that we are made of, and repeat what was sent."""
        super().handle_error(request, status, exc, message)
        reason = "this is a fault of ours; the log says more" if status >= 500 else "this cannot be read as a request"
        refusal = Refusal(status, reason).response()
        headers = {**refusal.headers, "Server": _NAME}
        answer = web.Response(status=status, headers=headers, body=cast("bytes", refusal.body))
        answer.force_close()
        return answer

    def begin(self, task: asyncio.Task[Any]) -> None:
        """A request's headers are complete, and `task` answers it."""
        self._stop_timer()
        self._head.reset()
        self._task = task
        self._slot.busy()

    def end(self) -> None:
        """The request was answered; the next one's headers may come."""
        self._task = None
        self._slot.idle()

    def drop(self) -> None:
        transport = self.transport
        if transport is None:
            return
        if self._task is None:
            transport.abort()
        else:  # first: a `sendfile` that waits for room would go on to wait for whoever gets its socket's number next
            self._task.add_done_callback(lambda _: transport.abort())
            self._task.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Body:
    """A request's body as aiohttp receives it."""

    def __init__(self, request: web.BaseRequest, pace: Pace, stall_seconds: float) -> None:
        self.length = request.content_length
        if self.length is None and not request.can_read_body:
            self.length = 0
        self._request = request
        self._pace = pace
        self._stall_seconds = stall_seconds

    async def batches(self, size: int) -> AsyncIterator[Sequence[bytes]]:
        content = self._request.content
        batch: list[bytes] = []
        held = 0
        gone: Exception | None = None
        clock = asyncio.get_running_loop().time
        deadline, since = clock() + self._stall_seconds, 0
        try:
            await self._invite()
            while not content.at_eof():
                with self._pace.waiting():
                    async with asyncio.timeout_at(deadline):
                        piece, _ = await content.readchunk()
                self._pace.moved(len(piece))
                batch.append(piece)
                held += len(piece)
                since += len(piece)
                if since >= _BODY_STEP:
                    deadline, since = clock() + self._stall_seconds, 0
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


def _received(request: web.BaseRequest, connection: _Connection, limits: Limits) -> Request:
    fields = [(name.lower(), value) for name, value in request.headers.items()]
    check_head(method=request.method, target=request.raw_path, headers=fields, version=request.version, limits=limits)
    headers: dict[str, str] = {}
    for name, value in fields:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = request.rel_url.query
    return Request(
        method=request.method,
        path=request.path,
        query={name: query.getall(name) for name in query},
        headers=headers,
        body=_Body(request, connection.pace, limits.stall_seconds),
        client=connection.client,
        subject=connection.subject,
    )


class _Sending:
    """One answer on its way out. `broken` tells that it was cut short of its length."""

    def __init__(
        self, request: web.BaseRequest, sender: FileSender, meter: Meter, stall_seconds: float, *, last: bool
    ) -> None:
        self.meter = meter
        self.broken = False
        self._request = request
        self._sender = sender
        self._stall_seconds = stall_seconds
        self._last = last

    async def send(self, response: Response) -> web.StreamResponse:
        request = self._request
        headers = {**response.headers, "Server": _NAME}
        if response.status not in (204, 304):
            headers["Content-Length"] = str(response.length)
        content = response.body
        is_small = isinstance(content, bytes) and len(content) <= _STEP
        if is_small or request.method == "HEAD" or response.status == 304:
            return await self._send_bytes(response, headers)
        stream = web.StreamResponse(status=response.status, headers=headers)
        if self._last:
            stream.force_close()
        try:
            await self._stream(stream, content)
        except (ModelcarError, OSError) as e:
            if isinstance(e, _GONE):
                raise
            _log.error("%s %s: %s", request.method, request.path, e)
            self.broken = True
            if not stream.prepared:
                return await self.send(Response(status=500))
            return self.hang_up()  # short of its Content-Length, so the client knows
        return stream

    async def _send_bytes(self, response: Response, headers: dict[str, str]) -> web.StreamResponse:
        request = self._request
        has_body = isinstance(response.body, bytes) and request.method != "HEAD" and response.status != 304
        body = response.body if has_body and isinstance(response.body, bytes) else None
        plain = web.Response(status=response.status, headers=headers, body=body)
        if "Expect" in request.headers and not request.content.at_eof():
            plain.force_close()  # whether the body that was not asked for comes all the same, nobody can tell
        if self._last or headers.get("Connection") == "close":
            plain.force_close()
        with self.meter.pace.waiting():
            async with asyncio.timeout(self._stall_seconds):
                await plain.prepare(request)
                await plain.write_eof()
                await request.writer.drain()  # aiohttp lets it lie in memory for as long as the client likes
        self.meter.add(len(body or b""))
        return plain

    async def _stream(self, stream: web.StreamResponse, content: bytes | Content | Stream) -> None:
        async with aclosing(_pieces(content)) as pieces:
            async for piece in pieces:  # the first one opens its file, before any promise is made
                if not stream.prepared:
                    await stream.prepare(self._request)
                if isinstance(piece, FileSlice):
                    await self._send_file(stream, piece)
                else:
                    await self._write(stream, piece)
        await stream.write_eof() if stream.prepared else await stream.prepare(self._request)

    async def _send_file(self, stream: web.StreamResponse, piece: FileSlice) -> None:
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError
        before = self.meter.sent
        if transport.get_extra_info("sslcontext") is None:
            try:
                await self._sender.send(transport, piece, self.meter, self._stall_seconds)
                return
            except asyncio.SendfileNotAvailableError:
                if transport.is_closing() or _is_gone(transport):
                    raise ConnectionResetError from None
        done = self.meter.sent - before
        piece = replace(piece, offset=piece.offset + done, size=piece.size - done)
        async with aclosing(self._sender.read(piece)) as parts:
            async for part in parts:
                await self._write(stream, part)

    async def _write(self, stream: web.StreamResponse, data: bytes) -> None:
        with self.meter.pace.waiting():
            async with asyncio.timeout(self._stall_seconds):
                await stream.write(data)
        self.meter.add(len(data))

    def hang_up(self) -> web.StreamResponse:
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response(status=400)


def _is_gone(transport: asyncio.Transport) -> bool:
    """What asyncio has not noticed yet: the client's end was reset."""
    try:
        transport.get_extra_info("socket").getpeername()
    except OSError:
        return True
    return False


async def _pieces(content: bytes | Content | Stream) -> AsyncGenerator[bytes | FileSlice, None]:
    if isinstance(content, bytes):
        for offset in range(0, len(content), _STEP):
            yield content[offset : offset + _STEP]
    elif isinstance(content, Content):
        with content.map.open(content.offset, content.size) as reader:
            for piece in reader.slices():
                yield piece
    else:
        async with aclosing(content.pieces()) as pieces:
            async for piece in pieces:
                yield piece
