"""The server over real sockets: what only HTTP can get wrong."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from modelcar.oci import Digest
from registry_shim.testing import running_registry

pytestmark = pytest.mark.slow

CONTENT = os.urandom(3 << 20)
DIGEST = Digest.of(CONTENT)
BLOB = f"/v2/org/model/blobs/{DIGEST}"
UPLOADS = "/v2/org/model/blobs/uploads/"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(root: Path) -> Iterator[str]:
    with running_registry(root) as address:
        assert call(address, "POST", f"{UPLOADS}?digest={DIGEST}", CONTENT)[0] == 201
        yield address


def call(
    address: str, method: str, url: str, body: bytes | Iterator[bytes] = b"", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request(method, url, body, headers or {})
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    while data := connection.recv(1 << 16):
        received += data
    return bytes(received)


def test_a_blob_whole_and_in_part(registry: str) -> None:
    status, headers, body = call(registry, "GET", BLOB)
    assert (status, body == CONTENT) == (200, True)
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["Content-Encoding"] is None
    status, headers, body = call(registry, "GET", BLOB, headers={"Range": "bytes=1000000-"})
    assert (status, body == CONTENT[1_000_000:]) == (206, True)
    assert headers["Content-Range"] == f"bytes 1000000-{len(CONTENT) - 1}/{len(CONTENT)}"


def test_head_has_the_headers_of_get_and_no_body(registry: str) -> None:
    _, get, _ = call(registry, "GET", BLOB)
    status, head, body = call(registry, "HEAD", BLOB)
    assert (status, body) == (200, b"")
    for headers in (get, head):
        del headers["Date"]
    assert head.items() == get.items()


def test_not_modified_has_no_body(registry: str) -> None:
    with connect(registry) as connection:
        request = f'GET {BLOB} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nIf-None-Match: "{DIGEST}"\r\n\r\n'
        connection.sendall(request.encode())
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 304 ")
    assert answer.endswith(b"\r\n\r\n")


def test_errors_of_head_have_no_body_either(registry: str) -> None:
    status, headers, body = call(registry, "HEAD", "/v2/org/model/manifests/none")
    assert (status, body, headers["Content-Type"]) == (404, b"", "application/json")


def test_one_connection_serves_many_requests(registry: str) -> None:
    with closing(http.client.HTTPConnection(registry, timeout=10)) as connection:
        for method, url in [("GET", BLOB), ("HEAD", BLOB), ("GET", "/v2/"), ("GET", "/v2/x/tags/list"), ("GET", BLOB)]:
            connection.request(method, url)
            with connection.getresponse() as response:
                body = response.read()
    assert body == CONTENT


def test_a_body_without_a_length(registry: str) -> None:
    content = os.urandom(1 << 20)
    pieces = (content[i : i + 70_000] for i in range(0, len(content), 70_000))
    location = call(registry, "POST", UPLOADS)[1]["Location"]
    assert call(registry, "PATCH", location, pieces)[0] == 202
    assert call(registry, "PUT", f"{location}?digest={Digest.of(content)}")[0] == 201


def test_what_is_called_compressed_is_stored_as_it_is(registry: str) -> None:
    content = b"\x1f\x8bnot really"
    url = f"{UPLOADS}?digest={Digest.of(content)}"
    assert call(registry, "POST", url, content, {"Content-Encoding": "gzip"})[0] == 201


def test_a_percent_encoded_digest(registry: str) -> None:
    assert call(registry, "GET", BLOB.replace(":", "%3A"))[2] == CONTENT


def test_a_client_that_waits_to_be_asked_is_asked(registry: str) -> None:
    with connect(registry) as connection:
        url = f"{UPLOADS}?digest={Digest.of(b'content')}"
        head = (
            f"POST {url} HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"content")
        assert read_all(connection).startswith(b"HTTP/1.1 201 ")


def test_a_client_that_would_be_refused_is_not_asked(registry: str) -> None:
    with connect(registry) as connection:
        connection.sendall(f"PUT {UPLOADS}none HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\n".encode())
        connection.sendall(b"Expect: 100-continue\r\n\r\n")
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in answer, "the server cannot tell what comes next from the body"


def test_an_upload_that_breaks_off_can_be_continued(registry: str) -> None:
    location = call(registry, "POST", UPLOADS)[1]["Location"]
    content = os.urandom(4 << 20)
    with connect(registry) as connection:
        connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: r\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        connection.sendall(content[: 3 << 20])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))  # a reset, not an end
        while received(registry, location) < 2:  # no byte reads as one
            time.sleep(0.01)
    status = 416
    while status == 416:  # what came before the reset may still be on its way into the file
        done = received(registry, location)
        assert done <= 3 << 20
        range_ = {"Content-Range": f"{done}-{len(content) - 1}"}
        status = call(registry, "PATCH", location, content[done:], range_)[0]
    assert status == 202
    assert call(registry, "PUT", f"{location}?digest={Digest.of(content)}")[0] == 201


def received(registry: str, location: str) -> int:
    """How far an upload is."""
    return int(call(registry, "GET", location)[1]["Range"].removeprefix("0-")) + 1


def test_a_reader_that_leaves_disturbs_nobody(registry: str) -> None:
    for _ in range(5):
        with connect(registry) as connection:
            connection.sendall(f"GET {BLOB} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
            connection.recv(1000)
    assert call(registry, "GET", BLOB)[2] == CONTENT


def test_clients_that_dawdle_get_all_of_it_while_others_are_served(registry: str) -> None:
    content = os.urandom(24 << 20)
    url = f"/v2/org/model/blobs/{Digest.of(content)}"
    assert call(registry, "POST", f"{UPLOADS}?digest={Digest.of(content)}", content)[0] == 201
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(registry)) for _ in range(20)]  # more than there are threads to send
        for connection in slow:
            connection.sendall(f"GET {url} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n".encode())
        assert call(registry, "GET", url)[2] == content
        for connection in slow:
            time.sleep(0.01)
            assert read_all(connection).partition(b"\r\n\r\n")[2] == content


def test_a_client_that_closes_its_side_still_gets_the_rest(registry: str) -> None:
    with connect(registry) as connection:
        connection.sendall(f"GET {BLOB} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n".encode())
        connection.recv(1, socket.MSG_PEEK)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).partition(b"\r\n\r\n")[2] == CONTENT


def test_a_blob_that_shrinks_while_it_is_sent_breaks_off(
    registry: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytes(32 << 20)
    digest = Digest.of(content)
    assert call(registry, "POST", f"{UPLOADS}?digest={digest}", content)[0] == 201
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(10)
        host, _, port = registry.rpartition(":")
        connection.connect((host, int(port)))
        connection.sendall(f"GET /v2/org/model/blobs/{digest} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        received = len(connection.recv(1 << 16))
        os.truncate(root / "blobs" / "sha256" / digest.hex, 0)
        with suppress(ConnectionResetError):
            while data := connection.recv(1 << 20):
                received += len(data)
    assert received < len(content)
    assert "shorter than it was" in caplog.text


@pytest.mark.parametrize(
    "request_", [b"\x16\x03\x01\x02\x00 this is TLS", b"GET /v2/ HTTP/1.1\r\nX: \x00", b"GET /v2/a?\xff HTTP/1.1"]
)
def test_what_is_not_http(registry: str, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with connect(registry) as connection:
        connection.sendall(request_ + b"\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.0 400 ")
    assert caplog.text == "", "or anybody could fill the log"


def test_a_second_life_has_everything(tmp_path: Path) -> None:
    config = b"{}"
    described = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(config)), "size": 2}
    manifest = json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode()
    with running_registry(tmp_path) as registry:
        assert call(registry, "POST", f"/v2/a/blobs/uploads/?digest={Digest.of(config)}", config)[0] == 201
        assert call(registry, "PUT", "/v2/a/manifests/v1", manifest)[0] == 201
    with running_registry(tmp_path, writable=False) as registry:
        assert call(registry, "GET", "/v2/a/manifests/v1")[2] == manifest
        assert call(registry, "PUT", "/v2/a/manifests/v1", manifest)[0] == 405


def test_without_a_folder_nothing_is_left_behind() -> None:
    with running_registry() as registry:
        assert call(registry, "GET", "/v2/")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        connect(registry)
