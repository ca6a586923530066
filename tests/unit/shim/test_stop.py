"""Being told to stop: soon, quietly, and with nothing left half-done, whatever clients are in the middle of."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from modelcar.oci import Digest
from modelcar.serving.http import listening
from modelcar.serving.messages import Request, Response
from registry_shim.testing import running_registry

from .command import serving

pytestmark = pytest.mark.slow

CONTENT = os.urandom(48 << 20)  # more than sockets hold
BLOB = f"/v2/a/blobs/{Digest.of(CONTENT)}"
UPLOADS = "/v2/a/blobs/uploads/"


def call(address: str, method: str, url: str, body: bytes = b"") -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request(method, url, body)
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()


@contextmanager
def begun(address: str, request: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A request that its client has begun and does not go on with."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode() + body)
        yield connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_new_folder_serves_and_stops_whatever_clients_are_doing(tmp_path: Path, number: int) -> None:
    root = tmp_path / "not" / "there yet"
    with serving("--root", root, "--listen", "127.0.0.1:0", "--writable") as (process, line):
        address = line.removeprefix("listening on http://").strip()
        assert call(address, "GET", "/v2/")[2] == b"{}"
        assert call(address, "POST", f"{UPLOADS}?digest={Digest.of(CONTENT)}", CONTENT)[0] == 201
        location = call(address, "POST", UPLOADS)[1]["Location"]
        upload = f"PATCH {location} HTTP/1.1\nHost: r\nContent-Length: {len(CONTENT)}\n\n"
        with (
            begun(address, f"GET {BLOB} HTTP/1.1\nHost: r\n\n") as download,
            begun(address, upload, CONTENT[: 4 << 20]),
            begun(address, "GET /v2/ HTT"),
            begun(address, ""),
        ):
            assert download.recv(100).startswith(b"HTTP/1.1 200 ")
            while call(address, "GET", location)[1]["Range"] == "0-0":
                pass  # until the upload has begun for good
            process.send_signal(number)
            output, errors = process.communicate(timeout=60)
        assert (process.returncode, output, errors) == (0, "", "")
    assert not list((root / "ingest").iterdir())
    with running_registry(root) as address:
        assert call(address, "GET", BLOB)[2] == CONTENT


def test_nothing_runs_any_more_when_it_is_over() -> None:
    """Not even what takes a while to be cancelled: the folder is somebody else's then."""
    events = []
    began = asyncio.Event()

    async def handler(_: Request) -> Response:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            for _turn in range(20):
                await asyncio.sleep(0)
            events.append("ended")
        raise AssertionError

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with listening(handler, listener, grace_seconds=0.01):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(b"GET / HTTP/1.1\r\nHost: r\r\n\r\n")
                await began.wait()
            assert events == ["ended"]
            writer.close()

    asyncio.run(main())


def test_an_upload_that_is_nearly_done_is_finished() -> None:
    began = asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        return Response(status=200, body=b"".join([b"".join(batch) async for batch in request.body.batches(1)]))

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with listening(handler, listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 9\r\n\r\nall of")
                await began.wait()
                asyncio.get_running_loop().call_later(0.05, writer.write, b" it")
            assert (await reader.read()).endswith(b"all of it")
            writer.close()

    asyncio.run(main())
