"""Files over sockets, where the kernel does not do what it usually does."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from modelcar.layers.bytemap import FileSlice
from modelcar.serving.messages import Request, Response
from tests.support.raw_http import ask, connected, head, running

pytestmark = pytest.mark.slow


class Shared:
    """A stream over a descriptor that every request shares, as leases of one blob do."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.size = size
        self._slice = FileSlice(path=path, fd=fd, offset=0, size=size)

    async def pieces(self) -> AsyncGenerator[bytes | FileSlice, None]:
        yield self._slice


def test_a_file_that_the_kernel_does_not_send_from_arrives_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For several at a time, whose descriptor has one position only."""
    content = os.urandom(8 << 20)
    path = tmp_path / "file"
    path.write_bytes(content)

    def unable(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", unable)

    async def main(fd: int) -> list[bytes]:
        async def handler(_: Request) -> Response:
            return Response(status=200, body=Shared(path, fd, len(content)))

        async with running(handler) as (_, port):
            return await asyncio.gather(*(ask(port, head("Host: r")) for _ in range(6)))

    with open(path, "rb") as file:
        answers = asyncio.run(main(file.fileno()))
    assert [answer.partition(b"\r\n\r\n")[2] == content for answer in answers] == [True] * 6


def test_a_client_that_hangs_up_is_nothing_to_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(16 << 20))

    async def main(fd: int) -> None:
        async def handler(_: Request) -> Response:
            return Response(status=200, body=Shared(path, fd, 16 << 20))

        async with running(handler) as (served, port):
            for _ in range(20):
                async with connected(port) as (reader, writer):
                    writer.write(head("Host: r"))
                    await reader.read(1000)
                    writer.transport.abort()
            async with asyncio.timeout(60):
                while len(served.connections):  # noqa: ASYNC110  # nothing tells that it is gone
                    await asyncio.sleep(0.01)

    with open(path, "rb") as file:
        asyncio.run(main(file.fileno()))
    assert caplog.text == ""
