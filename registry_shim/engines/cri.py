"""The few questions that we put to an engine as the kubelet does: gRPC over its Unix socket.

Unary calls of three methods need no generated code and none of grpcio's megabytes.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from modelcar.errors import InvalidDocument, WorldError
from modelcar.exchanges import told
from registry_shim.protobuf import embedded, encode, numbered, text

__all__ = ["SOCKETS", "Answer", "Cri", "Version"]

_log = logging.getLogger(__name__)

SOCKETS: Final = (
    Path("/run/containerd/containerd.sock"),
    Path("/var/run/crio/crio.sock"),
    Path("/run/k3s/containerd/containerd.sock"),
)
_QUICK_SECONDS: Final = 10.0
_READ: Final = 64 << 10
_LARGEST: Final = 1 << 20  # bytes of an answer
_HEADERS: Final = (
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "registry-shim"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`containerd` or `cri-o`, and which."""

    engine: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the engine said: a message of protobuf, or why not, in its own words."""

    content: bytes = b""
    refusal: str | None = None

    def require(self, doing: str) -> bytes:
        """Raises WorldError if the engine said no to `doing`."""
        if self.refusal is not None:
            raise WorldError(f"{doing}: {self.refusal}")
        return self.content


class Cri:
    """An engine at a socket. Every method takes a connection of its own and blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def version(self) -> Version:
        """Who answers.

        Raises:
            WorldError: nobody does, or an engine without CRI.
        """
        content = self.call("/runtime.v1.RuntimeService/Version", b"", _QUICK_SECONDS).require(f"{self._path}")
        try:
            fields = numbered(content)
            found = Version(engine=text(fields.get(2)), version=text(fields.get(3)))
        except InvalidDocument as e:
            raise WorldError(f"the engine's answer is not understood: {e}") from None
        if not found.engine:
            raise WorldError(f"the engine's answer at {self._path} does not say who it is")
        return found

    def pull(self, image: str, *, seconds: float) -> Answer:
        """Pull and unpack as for a pod without secrets.

        Raises:
            WorldError: nobody answers, or not within `seconds`.
        """
        return self.call("/runtime.v1.ImageService/PullImage", _image_spec(image), seconds)

    def remove(self, image: str) -> Answer:
        """Forget an image, if it is there.

        Raises:
            WorldError: nobody answers.
        """
        return self.call("/runtime.v1.ImageService/RemoveImage", _image_spec(image), _QUICK_SECONDS)

    def call(self, method: str, request: bytes, seconds: float) -> Answer:
        """Any unary call: a method such as `/runtime.v1.RuntimeService/Version`, and a message of protobuf.

        Raises:
            WorldError: nobody answers, or not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        try:
            with (
                told(_log, "POST", f"unix://{self._path}{method}") as exchange,
                closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection,
            ):
                connection.settimeout(_QUICK_SECONDS)
                connection.connect(str(self._path))
                answer = _Call(connection).run(method, request, deadline)
                if answer.refusal is not None:
                    exchange.broken(answer.refusal)
                return answer
        except TimeoutError:
            raise WorldError(f"{self._path} did not answer within {seconds:.0f} s") from None
        except OSError as e:
            raise WorldError(f"cannot talk to {self._path}: {e.strerror or e}") from None
        except h2.exceptions.ProtocolError as e:
            raise WorldError(f"{self._path} does not speak gRPC: {e}") from None


class _Call:
    """One request on one connection, and what has come back so far."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._ended = False

    def run(self, method: str, request: bytes, deadline: float) -> Answer:
        self._state.initiate_connection()
        self._state.send_headers(1, [(":path", method), *_HEADERS])
        self._state.send_data(1, struct.pack(">BI", 0, len(request)) + request, end_stream=True)
        self._connection.sendall(self._state.data_to_send())
        while not self._ended:
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._connection.recv(_READ)
            if not data:
                raise ConnectionResetError("it hung up")
            for event in self._state.receive_data(data):
                self._take(event)
            self._connection.sendall(self._state.data_to_send())
        return self._message()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived():
                self._body += event.data
                if len(self._body) > _LARGEST:
                    raise ConnectionResetError("it sends more than any answer has")
                self._state.acknowledge_received_data(event.flow_controlled_length, 1)
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self._headers |= {str(name): str(value) for name, value in event.headers}
            case h2.events.StreamEnded():
                self._ended = True
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise ConnectionResetError("it broke the call off")

    def _message(self) -> Answer:
        """The answer without its five bytes of framing."""
        status = self._headers.get("grpc-status", "")
        if status != "0":
            said = unquote(self._headers.get("grpc-message", "")) or f"gRPC status {status or 'missing'}"
            return Answer(refusal=" ".join(said.split()))
        return Answer(content=bytes(self._body[5:]))


def _image_spec(image: str) -> bytes:
    """`{image: {image: IMAGE}}`, the request of every method about one image."""
    return embedded(1, encode((1, image)))
