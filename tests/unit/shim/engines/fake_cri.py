"""An engine that speaks just enough gRPC, answers from a table, and remembers what it was asked."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import h2.config
import h2.connection
import h2.events

__all__ = ["FakeCri", "fake_cri"]

VERSION = "/runtime.v1.RuntimeService/Version"
PULL = "/runtime.v1.ImageService/PullImage"
REMOVE = "/runtime.v1.ImageService/RemoveImage"


def text_fields(*texts: str) -> bytes:
    """Fields 1, 2, 3 … of a message, each a short string."""
    return b"".join(bytes([n << 3 | 2, len(t)]) + t.encode() for n, t in enumerate(texts, start=1))


class FakeCri:
    """`answers` maps a method to a message, or to why not; a function is asked with the request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, bytes]] = []
        self.answers: dict[str, bytes | str | Callable[[bytes], bytes | str]] = {
            VERSION: text_fields("0.1.0", "containerd", "2.1.0", "v1"),
            PULL: text_fields("sha256:abc"),
            REMOVE: b"",
        }

    def serve(self, connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        method, request = "", b""
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    method = {str(name): str(value) for name, value in event.headers}[":path"]
                elif isinstance(event, h2.events.DataReceived):
                    request += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self._answer(state, method, request[5:])
            connection.sendall(state.data_to_send())

    def _answer(self, state: h2.connection.H2Connection, method: str, request: bytes) -> None:
        self.asked.append((method, request))
        answer = self.answers.get(method, "unknown method")
        if callable(answer):
            answer = answer(request)
        head = [(":status", "200"), ("content-type", "application/grpc")]
        if isinstance(answer, str):
            state.send_headers(1, [*head, ("grpc-status", "2"), ("grpc-message", quote(answer))], end_stream=True)
            return
        state.send_headers(1, head)
        framed = struct.pack(">BI", 0, len(answer)) + answer
        for at in range(0, len(framed), state.max_outbound_frame_size):
            state.send_data(1, framed[at : at + state.max_outbound_frame_size])
        state.send_headers(1, [("grpc-status", "0")], end_stream=True)


@contextmanager
def fake_cri(path: Path) -> Iterator[FakeCri]:
    """One at `path`, for connections one after another."""
    engine = FakeCri(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):  # a client that has its answer hangs up
                engine.serve(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield engine
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
