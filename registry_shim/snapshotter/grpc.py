"""A gRPC server on a Unix socket: unary calls, and streams of answers. HTTP/2 is h2's, protobuf the caller's."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, cast
from urllib.parse import quote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

__all__ = ["Explain", "Handler", "Status", "connection_factory"]

_LARGEST: Final = 4 << 20  # bytes of a request
_MOST_STREAMS: Final = 1024
_PLAIN: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"  # what a status message may hold as it is
_log = logging.getLogger(__name__)


class Status(IntEnum):
    """gRPC's codes, those that we answer with."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


Handler = Callable[[bytes], Iterable[bytes]]
"""A message to messages; runs in a thread."""
Explain = Callable[[Exception], tuple[Status, str]]
"""What the client is told about an exception of a handler."""


@dataclass(slots=True, kw_only=True)
class _Call:
    method: str
    request: bytearray = field(default_factory=bytearray)
    answer: bytearray | None = None  # what is still to be sent, once it is known
    trailers: list[tuple[str, str]] = field(default_factory=list)


def connection_factory(
    handlers: Mapping[str, Handler], explain: Explain, threads: ThreadPoolExecutor
) -> Callable[[], asyncio.Protocol]:
    """For `loop.create_unix_server`. `handlers` are by method, `/package.Service/Method`."""
    return lambda: _Connection(handlers, explain, threads)


class _Connection(asyncio.Protocol):
    """One client; its calls run side by side."""

    def __init__(self, handlers: Mapping[str, Handler], explain: Explain, threads: ThreadPoolExecutor) -> None:
        self._handlers = handlers
        self._explain = explain
        self._threads = threads
        self._calls: dict[int, _Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._state.initiate_connection()
        self._state.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: _MOST_STREAMS})
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._calls.clear()  # what runs is finished: it may be half done

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._state.receive_data(data):
                self._take(event)
            self._send_answers()
        except (h2.exceptions.H2Error, UnicodeDecodeError) as e:
            _log.debug("a client breaks HTTP/2: %s", e)
            self._flush()
            self._transport.close()
            return
        self._flush()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                headers = {str(name): str(value) for name, value in event.headers}
                self._calls[event.stream_id] = _Call(method=headers.get(":path", ""))
            case h2.events.DataReceived():
                self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._take_data(event.stream_id, event.data)
            case h2.events.StreamEnded():
                if (call := self._calls.get(event.stream_id)) is not None and call.answer is None:
                    task = asyncio.get_running_loop().create_task(self._run(event.stream_id, call))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            case h2.events.StreamReset():
                self._calls.pop(event.stream_id, None)
            case h2.events.ConnectionTerminated():
                self._calls.clear()
                self._transport.close()

    def _take_data(self, stream: int, data: bytes) -> None:
        call = self._calls.get(stream)
        if call is None or call.answer is not None:
            return
        call.request += data
        if len(call.request) > _LARGEST:
            self._finish(stream, call, (), Status.RESOURCE_EXHAUSTED, "the request is too large")

    async def _run(self, stream: int, call: _Call) -> None:
        answers: Iterable[bytes] = ()
        status, message = Status.OK, ""
        handler = self._handlers.get(call.method)
        request = _unframed(call.request)
        if handler is None:
            status, message = Status.UNIMPLEMENTED, f"{call.method} is not known here"
        elif request is None:
            status, message = Status.INTERNAL, "a call has one message, not compressed"
        else:
            try:
                loop = asyncio.get_running_loop()
                answers = await loop.run_in_executor(self._threads, lambda: tuple(handler(request)))
            except Exception as e:
                status, message = self._explain(e)
        if self._calls.get(stream) is call:  # it has not hung up meanwhile
            self._finish(stream, call, answers, status, message)
            self._send_answers()
            self._flush()

    def _finish(self, stream: int, call: _Call, answers: Iterable[bytes], status: Status, message: str) -> None:
        head = [(":status", "200"), ("content-type", "application/grpc")]
        call.trailers = [("grpc-status", str(int(status)))]
        if message:
            call.trailers.append(("grpc-message", quote(message, safe=_PLAIN)))
        call.answer = bytearray(b"".join(struct.pack(">BI", 0, len(each)) + each for each in answers))
        self._state.send_headers(stream, head)

    def _send_answers(self) -> None:
        """As much as the client has room for; the rest when it says so."""
        for stream, call in list(self._calls.items()):
            if call.answer is None:
                continue
            while call.answer:
                room = min(self._state.local_flow_control_window(stream), self._state.max_outbound_frame_size)
                if room <= 0:
                    break
                self._state.send_data(stream, bytes(call.answer[:room]))
                del call.answer[:room]
            else:
                self._state.send_headers(stream, call.trailers, end_stream=True)
                del self._calls[stream]

    def _flush(self) -> None:
        if data := self._state.data_to_send():
            self._transport.write(data)


def _unframed(body: bytearray) -> bytes | None:
    """The one message of a request; `None` if that is not what came."""
    if len(body) < 5:
        return None
    compressed, size = struct.unpack_from(">BI", body)
    return bytes(body[5:]) if not compressed and size == len(body) - 5 else None
