"""A gRPC client that does one call at a time, and can be told to behave badly."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.settings

__all__ = ["Answer", "GrpcClient", "framed"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    message: str
    messages: tuple[bytes, ...]


def framed(message: bytes, *, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(message)) + message


class GrpcClient:
    """One connection. `window` is how many bytes of an answer it has room for before it has read some."""

    def __init__(self, path: Path, *, window: int = 65535) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.state.initiate_connection()
        self.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._flush()
        self._bodies: dict[int, bytearray] = {}
        self._headers: dict[int, dict[str, str]] = {}
        self._ended: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def call(self, method: str, message: bytes = b"") -> Answer:
        return self.answer(self.start(method, framed(message)))

    def start(self, method: str, body: bytes) -> int:
        """Send a request, and do not wait for what it says; returns the stream."""
        stream = self.state.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", method)]
        self.state.send_headers(stream, [*head, ("content-type", "application/grpc"), ("te", "trailers")])
        while body:
            room = min(self.state.local_flow_control_window(stream), self.state.max_outbound_frame_size)
            if room:
                self.state.send_data(stream, body[:room])
                body = body[room:]
                self._flush()
            else:
                self._receive()
        self.state.end_stream(stream)
        self._flush()
        return stream

    def reset(self, stream: int) -> None:
        self.state.reset_stream(stream)
        self._flush()

    def answer(self, stream: int) -> Answer:
        while stream not in self._ended:
            self._receive()
        headers, body = self._headers[stream], bytes(self._bodies.get(stream, b""))
        messages = []
        while body:
            _, size = struct.unpack_from(">BI", body)
            messages.append(body[5 : 5 + size])
            body = body[5 + size :]
        said = unquote(headers.get("grpc-message", ""))
        return Answer(status=int(headers["grpc-status"]), message=said, messages=tuple(messages))

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        for event in self.state.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self._bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
                self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                headers = {str(name): str(value) for name, value in event.headers}
                self._headers.setdefault(event.stream_id, {}).update(headers)
            elif isinstance(event, h2.events.StreamEnded):
                self._ended.add(event.stream_id)
        self._flush()

    def _flush(self) -> None:
        self.socket.sendall(self.state.data_to_send())
