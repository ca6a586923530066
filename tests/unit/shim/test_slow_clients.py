"""Clients that dawdle: whoever goes on is served, whoever stops is dropped, and neither keeps what others need."""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.oci import Digest
from modelcar.serving import sending
from modelcar.serving.http import listening
from modelcar.serving.messages import Content, Request, Response
from modelcar.serving.settings import Limits
from registry_shim.distribution import Distribution
from registry_shim.testing import running_registry
from tests.support.leaks import no_file_left_open

from .api import Api

pytestmark = pytest.mark.slow

UPLOADS = "/v2/a/blobs/uploads/"
LARGE = 64 << 20  # more than sockets hold
IMPATIENT = Limits(stall_seconds=0.2)


def large_bytes(_: Path) -> Response:
    return Response(status=200, body=bytes(LARGE))


def large_literal(_: Path) -> Response:
    return large_content(ByteMap([Literal(bytes(LARGE))]))


def large_file(folder: Path) -> Response:
    path = folder / "file"
    path.touch()
    os.truncate(path, LARGE)
    return large_content(ByteMap.of_file(path, LARGE))


def large_content(map_: ByteMap) -> Response:
    return Response(status=200, body=Content(map=map_, offset=0, size=LARGE))


@pytest.mark.parametrize("make", [large_bytes, large_literal, large_file])
def test_a_client_that_takes_nothing_is_dropped(tmp_path: Path, make: Callable[[Path], Response]) -> None:
    response = make(tmp_path)
    received = bytearray()

    async def handler(_: Request) -> Response:
        return response

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with listening(handler, listener, limits=IMPATIENT):
                reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1)
                writer.write(b"GET / HTTP/1.1\r\nHost: r\r\n\r\n")
                received.extend(await reader.read(100))
                await asyncio.sleep(1)
                with suppress(ConnectionResetError):
                    while data := await reader.read(1 << 20):
                        received.extend(data)
                writer.close()

    asyncio.run(main())
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(received) < LARGE


def test_a_client_that_sends_nothing_is_dropped_and_may_come_back(make_api: Callable[..., Api]) -> None:
    handler = Distribution(make_api().context).handle

    def client(host: str, port: int) -> None:
        registry = f"{host}:{port}"
        location = call(registry, "POST", UPLOADS)
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: r\r\nContent-Length: 9\r\n\r\nhalf".encode())
            assert connection.recv(1) == b"", "the server hangs up"
        assert call(registry, "PATCH", location, b" of it") == location
        assert call(registry, "PUT", f"{location}?digest={Digest.of(b'half of it')}")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with listening(handler, listener, limits=IMPATIENT):
                await asyncio.to_thread(client, *listener.getsockname())

    asyncio.run(main())


def call(registry: str, method: str, url: str, body: bytes = b"") -> str:
    """The Location that is answered."""
    with closing(http.client.HTTPConnection(registry, timeout=10)) as connection:
        connection.request(method, url, body)
        with connection.getresponse() as response:
            assert response.status in (201, 202), response.read()
            return response.headers["Location"]


def test_a_client_that_keeps_a_thread_waiting_gives_it_up(tmp_path: Path) -> None:
    """Else eight of them would leave none for those who keep up."""
    size = 16 << 20
    (tmp_path / "file").write_bytes(bytes(size))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    taken = 0

    def take_slowly() -> None:
        nonlocal taken
        while data := theirs.recv(1 << 17):
            taken += len(data)
            time.sleep(0.001)  # always back before a thread that waits anew each time would lose patience

    client = threading.Thread(target=take_slowly)
    client.start()
    with open(tmp_path / "file", "rb") as file:
        sent, room = sending._push(os.dup(ours.fileno()), os.dup(file.fileno()), 0, size)
    ours.close()
    client.join()
    theirs.close()
    assert not room
    assert 0 < sent < size
    assert taken == sent


def test_nothing_is_left_open_when_nothing_more_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(4 << 20)
    digest = Digest.of(content)
    with running_registry() as registry:
        call(registry, "POST", f"{UPLOADS}?digest={digest}", content)
        real, calls = os.dup, 0

        def every_other(fd: int) -> int:
            nonlocal calls
            calls += 1
            if calls % 2 == 0:
                raise OSError(errno.EMFILE, "Too many open files")
            return real(fd)

        with no_file_left_open(), monkeypatch.context() as patch:
            patch.setattr(os, "dup", every_other)
            for _ in range(5):
                with closing(http.client.HTTPConnection(registry, timeout=10)) as connection:
                    connection.request("GET", f"/v2/a/blobs/{digest}")
                    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                        connection.getresponse().read()
        assert calls == 10
