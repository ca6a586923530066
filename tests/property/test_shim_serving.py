"""Whatever bytes a client sends, it is answered or cut off, others are served, and no log fills."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Limits
from tests.support.examples import examples
from tests.support.raw_http import ask, connected, echo, head, rest, running

LIMITS: Final = Limits(header_seconds=0.3, idle_seconds=0.3, stall_seconds=0.3, header_bytes=4096)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "CONNECT", "PRI", "G\x00T", ""])
TARGETS = st.sampled_from(
    ["/v2/", "/v2/a/blobs/uploads/1", "*", "//", "http://[::1", "/%zz", "/?\x7f", "/\xff", "host:1"]
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "http/1.1", ""])
HEADERS = st.sampled_from(
    [
        "Host: a",
        "Host: ",
        "Content-Length: 5",
        "Content-Length: 18446744073709551617",
        "Transfer-Encoding: chunked",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Connection: keep-alive, close",
        "Expect: 100-continue",
        "Expect: tea",
        "Range: bytes=-",
        "Cookie: \xe9=\xff",
        " folded",
        "NoColon",
        "X: " + "y" * 5000,
    ]
)
BODIES = st.sampled_from(
    [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n", b"-1\r\n", b"5;a=\xff\r\nhel"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    lines = [f"{draw(METHODS)} {draw(TARGETS)} {draw(VERSIONS)}", *draw(st.lists(HEADERS, max_size=4))]
    end = draw(st.sampled_from(["\r\n", "\n", "\r"]))
    return (end.join(lines) + end * 2).encode("latin-1") + draw(BODIES)


class Seen(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "socket.send() raised exception.":
            return  # the client's end, which goes on writing
        self.records.append(f"{record.name}: {record.getMessage()} {record.exc_info}")


@examples(60)
@given(st.lists(requests() | st.binary(max_size=300), min_size=1, max_size=3), st.integers(1, 50))
@example([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 7)
@example([b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET / HTTP/1.1\r\n\r\n"], 40)
def test_nothing_that_is_sent_disturbs_anybody(sent: list[bytes], step: int) -> None:
    seen = Seen()
    logging.getLogger().addHandler(seen)

    async def handler(request: Request) -> Response:
        assert request.path.startswith("/")
        assert not any(ord(c) < 0x20 for c in request.path)
        return await echo(request)

    async def main() -> None:
        async with running(handler, limits=LIMITS) as (served, port):
            async with connected(port) as (reader, writer):
                whole = b"".join(sent)
                for at in range(0, len(whole), max(1, len(whole) // step)):
                    writer.write(whole[at : at + max(1, len(whole) // step)])
                    await asyncio.sleep(0)
                await rest(reader)
            assert (await ask(port, head("Host: a"))).startswith(b"HTTP/1.1 200 ")
            async with asyncio.timeout(60):
                while len(served.connections):  # noqa: ASYNC110  # nothing tells that it is gone
                    await asyncio.sleep(0.01)

    try:
        asyncio.run(main())
    finally:
        logging.getLogger().removeHandler(seen)
    assert seen.records == []
