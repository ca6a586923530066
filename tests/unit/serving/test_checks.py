"""Requests that two programs could read in two ways, over real sockets: they reach no handler."""

from __future__ import annotations

import asyncio
import json

import pytest

from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Limits
from tests.support.raw_http import ask, echo, head, running

pytestmark = pytest.mark.slow

HOST = "Host: registry.example"
PUSH = "/v2/a/blobs/uploads/1"


def answers(*requests: bytes, limits: Limits | None = None) -> list[bytes]:
    async def main() -> list[bytes]:
        async with running(limits=limits or Limits()) as (_, port):
            return [await ask(port, request) for request in requests]

    return asyncio.run(main())


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "target",
    [
        "/v2/../etc/passwd",
        "/v2/..",
        "/v2/./a",
        "/v2/%2e%2e/a",
        "/v2/%2E./a",
        "/v2/a%2fb/manifests/x",
        "/v2/a%2Fb/manifests/x",
        "/v2/a%5c..%5cb",
        "/v2/a\\b",
        "/v2/%00",
        "/v2/a%0d%0aX: y",
        "/v2/%7f",
        "http://registry.example/v2/",
        "https://other.example/v2/",
        "*",
        "v2/",
        "//v2/../a",
        "/v2/#a",
        "/v2/a/tags/list?n=1#/../..",
    ],
)
def test_paths_that_lead_elsewhere(target: str) -> None:
    (answer,) = answers(head(HOST, target=target))
    assert status(answer) == 400, answer


@pytest.mark.parametrize(
    "target", ["/v2/", "/v2/a/blobs/sha256%3Aabc", "/v2/a..b/tags/list", "/v2/a?n=../x%2f", "/v2/%C3%A4"]
)
def test_paths_that_are_only_unusual(target: str) -> None:
    (answer,) = answers(head(HOST, target=target))
    assert status(answer) == 200, answer


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((HOST, HOST), b""),
        (("X: y",), b""),
        (("Host: a b",), b""),
        (("Host: a/b",), b""),
        (("Host: user@a",), b""),
        ((HOST, "Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"),
        ((HOST, "Transfer-Encoding: chunked", "Content-Length: 5"), b"0\r\n\r\n"),
        ((HOST, "Content-Length: 5", "Content-Length: 6"), b"hello!"),
        ((HOST, "Content-Length: 5", "Content-Length: 5"), b"hello"),
        ((HOST, "Content-Length: +5"), b"hello"),
        ((HOST, "Content-Length: -1"), b""),
        ((HOST, "Content-Length: 0x5"), b"hello"),
        ((HOST, "Content-Length : 5"), b"hello"),
        ((HOST, "Content-Length: " + "0" * 5000 + "5"), b"hello"),
        ((HOST, "Authorization: Bearer \xff"), b""),
        ((HOST, "Range: bytes=0-\xff"), b""),
        ((HOST, "Transfer-Encoding: gzip, chunked"), b"0\r\n\r\n"),
        ((HOST, "Transfer-Encoding: chunked, chunked"), b"0\r\n\r\n"),
        ((HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), b"0\r\n\r\n"),
        ((HOST, "Transfer-Encoding: xchunked"), b"0\r\n\r\n"),
        ((HOST, "Transfer-Encoding:\x0bchunked"), b"0\r\n\r\n"),
        ((HOST, "Authorization: a", "Authorization: b"), b""),
        ((HOST, "Range: bytes=0-1", "Range: bytes=2-3"), b""),
        ((HOST, "X: a\r\n folded"), b""),
        ((HOST, "X\x00: a"), b""),
        ((HOST, ": empty"), b""),
    ],
)
def test_heads_that_can_be_read_in_two_ways(lines: tuple[str, ...], body: bytes) -> None:
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        seen.append(request.path)
        return await echo(request)

    async def main() -> bytes:
        async with running(handler) as (_, port):
            return await ask(port, head(*lines, method="PUT", target=PUSH) + body)

    answer = asyncio.run(main())
    assert status(answer) == 400, answer
    assert seen == []
    assert answer.count(b"HTTP/1.") == 1, "whatever came behind was no request"


@pytest.mark.parametrize(
    "request_", [b"GET /v2/ HTTP/1.1\nHost: x\n\n", head(HOST, "X: a\r\n\tfolded"), head(HOST, target="/v2/ /x")]
)
def test_what_cannot_be_read_is_refused_in_our_words(request_: bytes) -> None:
    (answer,) = answers(request_)
    assert status(answer) == 400
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "UNSUPPORTED"
    assert b"aiohttp" not in answer


def test_a_fault_of_ours_says_so_and_nothing_more() -> None:
    async def handler(_: Request) -> Response:
        raise RuntimeError("secret")

    async def main() -> bytes:
        async with running(handler) as (_, port):
            return await ask(port, head(HOST))

    answer = asyncio.run(main())
    assert status(answer) == 500
    assert b"a fault of ours" in answer
    assert b"secret" not in answer


def test_noughts_make_no_length_small() -> None:
    (answer,) = answers(head(HOST, "Content-Length: " + "0" * 20 + "70000", method="POST", target="/v2/"))
    assert status(answer) in (400, 413)


def test_bodies_of_pushes() -> None:
    chunked = head(HOST, "Transfer-Encoding: chunked", method="PATCH", target=PUSH) + b"5\r\nhello\r\n0\r\n\r\n"
    sized = head(HOST, "Content-Length: 5", method="PUT", target="/v2/a/manifests/v1") + b"there"
    first, second = answers(chunked, sized, limits=Limits(body_bytes=0))
    assert first.endswith(b"hello")
    assert second.endswith(b"there")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST", "PUT"])
def test_bodies_where_none_is_expected(method: str) -> None:
    limits = Limits(body_bytes=10)
    long, chunked, short = answers(
        head(HOST, "Content-Length: 11", method=method, target="/v2/a/tags/list") + bytes(11),
        head(HOST, "Transfer-Encoding: chunked", method=method) + b"0\r\n\r\n",
        head(HOST, "Content-Length: 10", method=method) + bytes(10),
        limits=limits,
    )
    assert (status(long), status(chunked), status(short)) == (413, 413, 200)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "get", "PROPFIND"])
def test_methods_that_nobody_needs(method: str) -> None:
    (answer,) = answers(head(HOST, method=method))
    assert status(answer) in (400, 405)


def test_a_refusal_is_in_the_specifications_form() -> None:
    (answer,) = answers(head(HOST, target="/v2/../a"))
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert document == {"errors": [{"code": "UNSUPPORTED", "message": "a path has no dots to go up by"}]}


def test_headers_that_are_too_many_or_too_long() -> None:
    limits = Limits(header_bytes=4096, header_count=10)
    many, long, endless, fine = answers(
        head(HOST, *(f"X-{n}: y" for n in range(10))),
        head(HOST, "X: " + "y" * 5000),
        b"GET /" + b"a" * 5000,
        head(HOST, *(f"X-{n}: y" for n in range(8))),
        limits=limits,
    )
    assert (status(many), status(long), status(endless), status(fine)) == (431, 431, 431, 200)


def test_a_header_that_came_twice_is_a_list() -> None:
    async def handler(request: Request) -> Response:
        return Response(status=200, body=request.headers["accept"].encode())

    async def main() -> bytes:
        async with running(handler) as (_, port):
            return await ask(port, head(HOST, "Accept: a/b", "Accept: c/d"))

    assert asyncio.run(main()).endswith(b"a/b, c/d")


def test_a_request_of_http_1_0_needs_no_host() -> None:
    (answer,) = answers(b"GET /v2/ HTTP/1.0\r\n\r\n")
    assert status(answer) == 200
