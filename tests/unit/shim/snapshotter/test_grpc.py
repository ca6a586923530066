"""The server by itself: framing, flow control, many calls on one connection, and clients that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from modelcar.errors import NotFound
from registry_shim.snapshotter.grpc import Handler, Status
from tests.support.grpc_client import GrpcClient, framed
from tests.unit.shim.snapshotter.serving import served

pytestmark = pytest.mark.slow

ECHO, MANY, FAIL, WAIT = "/t.T/Echo", "/t.T/Many", "/t.T/Fail", "/t.T/Wait"


class Handlers:
    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = threading.Semaphore(0)

    def methods(self) -> dict[str, Handler]:
        return {ECHO: lambda m: (m,), MANY: self.many, FAIL: self.fail, WAIT: self.wait}

    def many(self, message: bytes) -> Iterable[bytes]:
        return (bytes([n % 256]) * n for n in range(int(message)))

    def fail(self, message: bytes) -> Iterable[bytes]:
        yield b"lost"
        raise NotFound(message.decode())

    def wait(self, message: bytes) -> Iterable[bytes]:
        self.waiting.release()
        assert self.go.wait(30)
        return (message,)


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def place(tmp_path: Path, handlers: Handlers) -> Iterator[Path]:
    path = tmp_path / "socket"
    with served(path, handlers.methods()):
        yield path
        handlers.go.set()


@pytest.mark.parametrize("size", [0, 1, 16384, 65535, 65536, 1_000_000, (4 << 20) - 5])
def test_messages_of_any_size_go_both_ways(place: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with GrpcClient(place) as client:
        answer = client.call(ECHO, content)
        assert (answer.status, answer.messages) == (0, (content,))


@pytest.mark.parametrize("window", [0, 1, 1000, 65535])
def test_a_stream_of_messages_waits_for_room(place: Path, window: int) -> None:
    with GrpcClient(place, window=window) as client:
        if window == 0:
            stream = client.start(MANY, framed(b"20"))
            client.state.increment_flow_control_window(100_000, stream)
            client.socket.sendall(client.state.data_to_send())
            answer = client.answer(stream)
        else:
            answer = client.call(MANY, b"20")
        assert answer.messages == tuple(bytes([n]) * n for n in range(20))


def test_no_message_at_all_is_an_answer(place: Path) -> None:
    with GrpcClient(place) as client:
        answer = client.call(MANY, b"0")
        assert (answer.status, answer.messages) == (0, ())


def test_an_error_comes_alone_and_with_its_words(place: Path) -> None:
    with GrpcClient(place) as client:
        answer = client.call(FAIL, "100 % “gone”\nfor good".encode())
        assert (answer.status, answer.message) == (Status.NOT_FOUND, "100 % “gone”\nfor good")
        assert answer.messages == ()
        assert client.call(ECHO, b"fine").messages == (b"fine",)


def test_an_unknown_method_is_unimplemented(place: Path) -> None:
    with GrpcClient(place) as client:
        assert client.call("/t.T/Nothing").status == Status.UNIMPLEMENTED


@pytest.mark.parametrize("body", [b"", b"\0\0", framed(b"x", compressed=1), framed(b"x") + b"y", framed(b"x")[:-1]])
def test_what_is_not_one_plain_message_is_refused(place: Path, body: bytes) -> None:
    with GrpcClient(place) as client:
        assert client.answer(client.start(ECHO, body)).status == Status.INTERNAL
        assert client.call(ECHO, b"fine").messages == (b"fine",)


def test_too_large_a_request_is_refused(place: Path) -> None:
    with GrpcClient(place) as client:
        answer = client.answer(client.start(ECHO, framed(b"x" * (4 << 20))))
        assert answer.status == Status.RESOURCE_EXHAUSTED
        assert client.call(ECHO, b"fine").messages == (b"fine",)


def test_calls_on_one_connection_do_not_wait_for_each_other(place: Path, handlers: Handlers) -> None:
    with GrpcClient(place) as client:
        slow = [client.start(WAIT, framed(str(n).encode())) for n in range(5)]
        for _ in slow:
            assert handlers.waiting.acquire(timeout=30)
        assert client.call(ECHO, b"quick").messages == (b"quick",)
        handlers.go.set()
        assert [client.answer(stream).messages for stream in slow] == [(str(n).encode(),) for n in range(5)]


def test_who_gives_up_or_hangs_up_disturbs_nobody(place: Path, handlers: Handlers) -> None:
    with GrpcClient(place) as client, GrpcClient(place) as gone:
        given_up = client.start(WAIT, framed(b"x"))
        gone.start(WAIT, framed(b"y"))
        for _ in range(2):
            assert handlers.waiting.acquire(timeout=30)
        client.reset(given_up)
        gone.socket.close()
        handlers.go.set()
        assert client.call(ECHO, b"fine").messages == (b"fine",)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\4\1\4\0\0\0\1" + b"\xff" * 4,  # headers that cannot be decoded
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\1\0\0\0\0\0\1x",  # data of a stream that nobody opened
    ],
)
def test_what_is_no_http2_is_hung_up_on(place: Path, nonsense: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(30)
        stranger.connect(str(place))
        stranger.sendall(nonsense)
        while stranger.recv(4096):
            pass
    with GrpcClient(place) as client:
        assert client.call(ECHO, b"fine").messages == (b"fine",)
