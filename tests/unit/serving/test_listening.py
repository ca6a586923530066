"""A listener and its clients over real connections: who is too slow, too many, or there when it stops."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from modelcar.layers.bytemap import ByteMap, FileSlice
from modelcar.serving import accepting, connections, pace
from modelcar.serving.http import listening
from modelcar.serving.messages import Content, Request, Response
from modelcar.serving.pace import Pace
from modelcar.serving.sending import FileSender
from modelcar.serving.settings import Limits
from tests.support.raw_http import LoopClock, ask, connected, echo, head, rest, running, until_running

pytestmark = pytest.mark.slow


HEAD = head("Host: r")


@pytest.mark.parametrize("first_bytes", [b"", b"GET /v2/ HTTP/1.1\r\nHost: r\r\nX-"])
def test_idle_and_unfinished_connections_leave_room_for_others(first_bytes: bytes) -> None:
    async def main() -> None:
        async with running(limits=Limits(connections=20)) as (served, port), AsyncExitStack() as stack:
            readers = []
            for _ in range(60):
                reader, writer = await stack.enter_async_context(connected(port))
                writer.write(first_bytes)
                readers.append(reader)
            for _ in range(5):
                assert (await ask(port, HEAD)).startswith(b"HTTP/1.1 200 ")
            assert len(served.connections) <= 20
            assert await rest(readers[0]) == b"", "the first to come has gone"

    asyncio.run(main())


def test_headers_that_come_byte_by_byte_come_too_late() -> None:
    async def main() -> None:
        async with running(limits=Limits(header_seconds=0.2)) as (served, port):
            async with connected(port) as (reader, writer):
                sent = 0
                for byte in b"GET /v2/ HTTP/1.1\r\nHost: r\r\nX: " + b"y" * 1000:
                    if reader.at_eof() or writer.is_closing():
                        break
                    writer.write(bytes([byte]))
                    sent += 1
                    await asyncio.sleep(0.01)
                assert await rest(reader) == b""
                assert sent < 1000
            assert len(served.connections) == 0

    asyncio.run(main())


def test_a_second_request_has_the_same_time_as_the_first() -> None:
    async def main() -> None:
        clock = LoopClock()
        async with running(limits=Limits(header_seconds=20)) as (_, port), connected(port) as (reader, writer):
            for _ in range(3):
                writer.write(b"GET /v2/ HTTP/1.1\r\n")
                await asyncio.sleep(0.05)  # so that it has come; if it has not, this asks for less
                clock.advance(10)
                writer.write(b"Host: r\r\n\r\n")
                assert await reader.readuntil(b"hello")
            writer.write(b"GET /v2/ HTTP/1.1\r\n")
            assert await clock.until_done(asyncio.ensure_future(rest(reader))) == b""

    asyncio.run(main())


def test_requests_in_one_packet_are_all_answered() -> None:
    async def main() -> None:
        async with running() as (_, port):
            answer = await ask(port, b"GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n" * 3 + HEAD)
            assert answer.count(b"HTTP/1.1 200 ") == 4

    asyncio.run(main())


def test_the_rest_of_a_body_that_nobody_read_is_no_header() -> None:
    async def handler(_: Request) -> Response:
        return Response(status=200, body=b"answered")

    async def main() -> None:
        size = 1 << 20
        async with running(handler, limits=Limits(header_bytes=4096)) as (_, port), connected(port) as (reader, writer):
            writer.write(b"PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n" % size)
            await reader.readuntil(b"answered")
            for _piece in range(16):
                writer.write(bytes(size // 16))
                await writer.drain()
                await asyncio.sleep(0.001)
            writer.write(HEAD)
            answer = await rest(reader)
            assert (answer.count(b"HTTP/1.1"), answer.startswith(b"HTTP/1.1 200 ")) == (1, True)

    asyncio.run(main())


def test_a_body_that_begins_before_the_last_answer_has_ended_is_no_header() -> None:
    received: list[int] = []

    async def handler(request: Request) -> Response:
        received.append(sum([sum(map(len, batch)) async for batch in request.body.batches(1 << 20)]))
        return Response(status=200)

    async def main() -> None:
        size = 8 << 20
        push = b"PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
        async with running(handler, limits=Limits(header_bytes=1024)) as (_, port):
            answer = await ask(port, push * 5 + HEAD)
            assert answer.count(b"HTTP/1.1 200 ") == 6
        assert received == [size] * 5 + [0]

    asyncio.run(main())


def test_a_body_that_drips_is_cut_off_and_one_that_flows_is_not() -> None:
    received = 0

    async def handler(request: Request) -> Response:
        nonlocal received
        async for batch in request.body.batches(1):
            received += sum(map(len, batch))
        return Response(status=200)

    async def pushed(port: int, clock: LoopClock, piece: int) -> bytes:
        """Every second a piece, as the server sees it."""
        nonlocal received
        received = 0
        async with connected(port) as (reader, writer):
            writer.write(b"PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: r\r\nContent-Length: 262144\r\n")
            writer.write(b"Connection: close\r\n\r\n")
            answer = asyncio.ensure_future(rest(reader))
            for sent in range(piece, 262144 + 1, piece):
                writer.write(bytes(piece))
                while received < sent and not answer.done():  # noqa: ASYNC110  # bytes have no event
                    await asyncio.sleep(0)
                if answer.done():
                    break
                clock.advance(1)
            return await answer

    async def main() -> None:
        clock = LoopClock()
        async with running(handler, limits=Limits(stall_seconds=10)) as (_, port):
            assert await pushed(port, clock, 64) == b""
            assert (await pushed(port, clock, 16384)).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())


def test_an_idle_connection_is_closed() -> None:
    async def main() -> None:
        async with running(limits=Limits(idle_seconds=0.2)) as (_, port), connected(port) as (reader, _writer):
            assert await rest(reader) == b""

    asyncio.run(main())


def test_too_many_requests_at_once_are_told_to_come_back() -> None:
    release = asyncio.Event()

    async def handler(_: Request) -> Response:
        await release.wait()
        return Response(status=200)

    async def main() -> None:
        async with running(handler, limits=Limits(requests=2)) as (served, port):
            first = [asyncio.create_task(ask(port, HEAD)) for _ in range(2)]
            await until_running(served, 2)
            third = await ask(port, HEAD)
            assert third.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in third
            release.set()
            for task in first:
                assert (await task).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())


def test_a_client_that_has_all_its_connections_busy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "client_of", lambda _: "10.0.0.1")
    release = asyncio.Event()

    async def handler(_: Request) -> Response:
        await release.wait()
        return Response(status=200)

    async def main() -> None:
        async with running(handler, limits=Limits(connections_per_client=1)) as (served, port):
            first = asyncio.create_task(ask(port, HEAD))
            await until_running(served, 1)
            refused = await ask(port, b"")
            assert refused.startswith(b"HTTP/1.1 503 ")
            served.limits = Limits(connections_per_client=2)
            second = asyncio.create_task(ask(port, HEAD))
            await until_running(served, 2)
            release.set()
            assert (await first).startswith(b"HTTP/1.1 200 ")
            assert (await second).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())


LARGE = 16 << 20  # bytes, more than sockets hold


@pytest.fixture(params=["file", "bytes"])
def large(request: pytest.FixtureRequest, tmp_path: Path) -> Response:
    if request.param == "bytes":
        return Response(status=200, body=bytes(LARGE))
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, LARGE)
    return Response(status=200, body=Content(map=ByteMap.of_file(path, LARGE), offset=0, size=LARGE))


@pytest.mark.parametrize("limits", [Limits(connections=8), Limits(requests=8)], ids=["connections", "requests"])
def test_downloads_that_nobody_takes_leave_room_for_others(
    large: Response, limits: Limits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever goes on taking keeps the connection, and so does who waits for us. Time goes by as the fast one takes."""
    now, release = 0.0, asyncio.Event()
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 1.0)
    monkeypatch.setattr(connections, "_SEARCH_SECONDS", 0.0)
    monkeypatch.setattr(Pace.__init__, "__defaults__", (lambda: now,))

    async def handler(request: Request) -> Response:
        if request.path == "/v2/late":
            await release.wait()
        return Response(status=200, body=b"soon") if request.path == "/v2/" else large

    async def take(reader: asyncio.StreamReader) -> int:
        taken = 0
        with suppress(ConnectionResetError):
            while piece := await reader.read(1 << 17):
                taken += len(piece)
        return taken

    async def main() -> None:
        nonlocal now
        async with running(handler, limits=limits) as (served, port), AsyncExitStack() as stack:
            fast, late, *slow = [await stack.enter_async_context(connected(port)) for _ in range(8)]
            late[1].write(head("Host: r", target="/v2/late"))
            for _, writer in (fast, *slow):
                writer.write(head("Host: r", target="/v2/large"))
            await until_running(served, 8)
            begun = 0
            while not (answer := await ask(port, HEAD)).endswith(b"soon"):
                assert answer.startswith(b"HTTP/1.1 503 "), "while nobody can tell yet who is slow"
                for _ in range(5):
                    begun += len(await fast[0].read(1 << 17))
                    now += 0.03
                assert begun < LARGE, "nobody made room"
            release.set()
            assert begun + await take(fast[0]) > LARGE
            assert await take(late[0]) > LARGE
            taken = await asyncio.gather(*(take(reader) for reader, _ in slow))
            assert min(taken) < LARGE, "somebody made room"

    asyncio.run(main())
    assert "Exception in callback" not in caplog.text, "a socket was closed while something waited for it"


def test_of_a_file_whose_client_is_gone_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand clients that leave at once would take 256 KiB each."""
    read: list[FileSlice] = []
    monkeypatch.setattr(FileSender, "read", lambda _, piece: read.append(piece))
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, LARGE)
    content = Content(map=ByteMap.of_file(path, LARGE), offset=0, size=LARGE)

    async def handler(_: Request) -> Response:
        return Response(status=200, body=content)

    async def main() -> None:
        async with running(handler) as (served, port):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.sendall(HEAD)
                    await until_running(served, 1)
                    await asyncio.sleep(0.05)
                async with asyncio.timeout(60):
                    while served.running:  # noqa: ASYNC110  # nothing tells that it has ended
                        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert read == []


def test_being_hurried_ends_the_grace_period() -> None:
    began = asyncio.Event()

    async def handler(_: Request) -> Response:
        began.set()
        await asyncio.sleep(600)
        raise AssertionError

    async def main() -> None:
        async with asyncio.timeout(60):
            async with running(handler, grace_seconds=600) as (served, port):
                asking = asyncio.create_task(ask(port, HEAD))
                await began.wait()
                asyncio.get_running_loop().call_later(0.1, served.hurry)
            assert await asking == b""

    asyncio.run(main())


def test_while_it_stops_what_runs_goes_on_and_nothing_new_begins() -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def handler(_: Request) -> Response:
        began.set()
        await release.wait()
        return Response(status=200, body=b"done")

    async def main() -> None:
        async with AsyncExitStack() as stack:
            async with running(handler, grace_seconds=30) as (_, port):
                idle, _writer = await stack.enter_async_context(connected(port))
                asking = asyncio.create_task(ask(port, b"GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n"))
                await began.wait()
                asyncio.get_running_loop().call_later(0.1, release.set)
            assert (await asking).endswith(b"done"), "and the connection was closed behind it, unasked"
            assert await rest(idle) == b""

    asyncio.run(main())


def test_when_no_file_can_be_opened_an_idle_connection_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    failures = 3

    class Exhausted(socket.socket):
        """A listener that cannot accept, for a while."""

        def accept(self) -> tuple[socket.socket, Any]:
            nonlocal failures
            if failures and len(idle) == 1:
                failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    idle: list[asyncio.StreamReader] = []

    async def main() -> None:
        with Exhausted() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            async with listening(echo, listener), connected(port) as (reader, writer):
                writer.write(b"GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n")
                await reader.readuntil(b"hello")
                idle.append(reader)
                assert (await ask(port, HEAD)).startswith(b"HTTP/1.1 200 ")
                assert await rest(reader) == b""

    asyncio.run(main())
    assert failures == 0
    assert caplog.text.count("no connection can be taken for now: Too many open files") == 1
