"""Blobs on their way in: verified, continued after a cut, never put together wrongly."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from modelcar.errors import (
    DigestMismatch,
    ProtocolViolation,
    RegistryError,
    RemoteNotFound,
    SizeMismatch,
    Unreachable,
)
from modelcar.oci import Descriptor, Reference
from modelcar.store.memory import MemoryStore
from tests.support.scripted_registry import DROP, Action, Default, Reply, ScriptedRegistry, changed, cut_after, error

from .conftest import Client, ask_for_login, blob, reference

pytestmark = pytest.mark.slow

SIZE = 3_000_000


@pytest.fixture
def layer(server: ScriptedRegistry) -> Descriptor:
    descriptor, content = blob(SIZE)
    server.blobs[str(descriptor.digest)] = content
    return descriptor


def content_of(server: ScriptedRegistry, layer: Descriptor) -> bytes:
    return server.blobs[str(layer.digest)]


def ranges(server: ScriptedRegistry) -> list[str | None]:
    return [r.headers.get("Range") for r in server.requests("GET", "/blobs/")]


def test_whole(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    with client().open_blob(reference(server), layer) as stream:
        assert stream.read() == content_of(server, layer)
        assert stream.read(10) == b""
    assert ranges(server) == [None]


def test_readinto(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    buffer, received = bytearray(70_000), b""
    with client().open_blob(reference(server), layer) as stream:
        while n := stream.readinto(buffer):
            received += buffer[:n]
    assert received == content_of(server, layer)


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (5, None), (SIZE - 1, 1), (100, 2_000_000), (7, 0)])
def test_range(server: ScriptedRegistry, client: Client, layer: Descriptor, offset: int, length: int | None) -> None:
    stop = SIZE if length is None else offset + length
    with client().open_blob(reference(server), layer, offset, length) as stream:
        assert stream.size == stop - offset
        assert stream.read() == content_of(server, layer)[offset:stop]


def test_a_range_outside_the_blob_is_a_mistake(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    with pytest.raises(ValueError, match="not within"):
        client().open_blob(reference(server), layer, 1, SIZE)


def test_an_empty_blob_is_verified_without_a_request(server: ScriptedRegistry, client: Client) -> None:
    empty, _ = blob(0)
    with client().open_blob(reference(server), empty) as stream:
        assert stream.read() == b""
    assert not server.requests("GET", "/blobs/")
    _, content = blob(5)
    wrong = Descriptor(media_type="x", digest=Descriptor.of("x", content).digest, size=0)
    with pytest.raises(DigestMismatch):
        client().open_blob(reference(server), wrong)


def test_cut_connections_are_continued(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    server.on("GET", "/blobs/", cut_after(1_200_000))
    server.on("GET", "/blobs/", cut_after(500_000))
    server.on("GET", "/blobs/", Reply(DROP))
    with client().open_blob(reference(server), layer) as stream:
        assert stream.read() == content_of(server, layer)
    first, *later = ranges(server)
    assert first is None
    starts = [int(str(r).removeprefix("bytes=").removesuffix(f"-{SIZE - 1}")) for r in later]
    assert starts == sorted(starts)
    assert 0 < starts[0] <= 1_200_000


def test_a_cut_range_is_continued_within_it(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    server.on("GET", "/blobs/", cut_after(1000))
    with client().open_blob(reference(server), layer, 10, 5000) as stream:
        assert stream.read() == content_of(server, layer)[10:5010]
    assert ranges(server) == ["bytes=10-5009", "bytes=1010-5009"]


def test_a_registry_without_ranges_starts_again(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    server.on("GET", "/blobs/", cut_after(1_500_000))
    server.on("GET", "/blobs/", Reply(200, {}, content_of(server, layer)))
    with client().open_blob(reference(server), layer) as stream:
        assert stream.read() == content_of(server, layer)


def test_a_cut_while_starting_again_is_a_cut_like_any_other(
    server: ScriptedRegistry, client: Client, layer: Descriptor
) -> None:
    server.on("GET", "/blobs/", cut_after(1_500_000))
    server.on("GET", "/blobs/", Reply(200, {}, content_of(server, layer), cut=1000))
    with client().open_blob(reference(server), layer) as stream:
        assert stream.read() == content_of(server, layer)


def test_a_registry_that_ignores_a_range_is_read_up_to_it(
    server: ScriptedRegistry, client: Client, layer: Descriptor
) -> None:
    server.on("GET", "/blobs/", Reply(200, {}, content_of(server, layer)))
    with client().open_blob(reference(server), layer, 100, 50) as stream:
        assert stream.read() == content_of(server, layer)[100:150]


def test_a_cut_before_the_first_byte_that_is_wanted(
    server: ScriptedRegistry, client: Client, layer: Descriptor
) -> None:
    cut = Reply(200, {}, content_of(server, layer), cut=1000)
    server.on("GET", "/blobs/", cut)
    server.on("GET", "/blobs/", Reply(200, {}, content_of(server, layer)))
    with client().open_blob(reference(server), layer, 2_000_000, 50) as stream:
        assert stream.read() == content_of(server, layer)[2_000_000:2_000_050]
    server.on("GET", "/blobs/", cut, times=2)
    with pytest.raises(Unreachable, match="2000000 of 3000000 bytes done"):
        client(attempts=2).open_blob(reference(server), layer, 2_000_000, 50)


def test_progress_makes_patience(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    """Every mebibyte that arrives is worth new attempts; standing still is not."""
    server.on("GET", "/blobs/", cut_after(1_100_000), times=2)
    with client(attempts=2).open_blob(reference(server), layer) as stream:
        assert stream.read() == content_of(server, layer)
    server.on("GET", "/blobs/", cut_after(10), times=9)
    with (
        client(attempts=3).open_blob(reference(server), layer) as stream,
        pytest.raises(Unreachable, match=r"30 of 3000000 bytes done: the connection was cut"),
    ):
        stream.read()


def wrong_range(text: str) -> Action:
    return changed(headers={"Content-Range": text})


@pytest.mark.parametrize(
    "answer",
    [
        wrong_range("bytes 0-4/3000000"),
        wrong_range("bytes 10-15/3000000"),
        wrong_range("bytes 10-14/2999999"),
        wrong_range("10-14"),
        wrong_range("bytes */3000000"),
        changed(length=6, body=b"123456"),
    ],
)
def test_only_the_exact_range_will_do(
    server: ScriptedRegistry, client: Client, layer: Descriptor, answer: Action
) -> None:
    server.on("GET", "/blobs/", answer)
    with pytest.raises(ProtocolViolation, match=r"range|with others"):
        client().open_blob(reference(server), layer, 10, 5)


def test_a_partial_answer_to_a_whole_request_is_refused(
    server: ScriptedRegistry, client: Client, layer: Descriptor
) -> None:
    server.on("GET", "/blobs/", Reply(206, {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}, bytes(SIZE)))
    with pytest.raises(RegistryError, match="206"):
        client().open_blob(reference(server), layer)


def test_wrong_content(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    server.blobs[str(layer.digest)] = bytes(SIZE)
    received = b""
    with client().open_blob(reference(server), layer) as stream:
        while len(received) < SIZE - 1:
            received += stream.read(SIZE - 1 - len(received))
        with pytest.raises(DigestMismatch, match=server.name):  # the last byte is held back
            stream.read(1)


@pytest.mark.parametrize("delta", [-1, 1])
@pytest.mark.parametrize("stated", [True, False])
def test_wrong_size(server: ScriptedRegistry, client: Client, layer: Descriptor, delta: int, stated: bool) -> None:
    lie = Descriptor(media_type=layer.media_type, digest=layer.digest, size=SIZE + delta)
    if not stated:
        server.on("GET", "/blobs/", changed(length=-1), times=9)
    expected = SizeMismatch if stated or delta < 0 else (Unreachable, SizeMismatch)
    with pytest.raises(expected), client(attempts=2).open_blob(reference(server), lie) as stream:
        stream.read()


def test_a_resumed_blob_that_has_shrunk(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    server.on("GET", "/blobs/", cut_after(2_000_000))
    server.on("GET", "/blobs/", error(416, "RANGE_INVALID"))
    with client().open_blob(reference(server), layer) as stream, pytest.raises(SizeMismatch, match="fewer"):
        stream.read()


def test_missing(server: ScriptedRegistry, client: Client) -> None:
    missing, _ = blob(10)
    with pytest.raises(RemoteNotFound, match=r"404 Not Found \(BLOB_UNKNOWN\)") as caught:
        client().open_blob(reference(server), missing)
    assert caught.value.codes == ("BLOB_UNKNOWN",)
    assert client().blob_size(reference(server), missing.digest) is None


def test_size(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    assert client().blob_size(reference(server), layer.digest) == SIZE
    server.on("HEAD", "/blobs/", changed(length=-1))
    with pytest.raises(ProtocolViolation, match="how large"):
        client().blob_size(reference(server), layer.digest)


def test_a_stall_is_a_cut(server: ScriptedRegistry, client: Client, layer: Descriptor, pauses: list[float]) -> None:
    server.on("GET", "/blobs/", changed(stall=20))
    with client(timeout=0.2).open_blob(reference(server), layer) as stream:
        assert stream.read() == content_of(server, layer)
    assert len(pauses) == 1


def test_redirects_lose_the_login_and_keep_the_range(
    server: ScriptedRegistry, other: ScriptedRegistry, client: Client, layer: Descriptor, tmp_path: Any
) -> None:
    login = ask_for_login(server, tmp_path)
    other.blobs[str(layer.digest)] = content_of(server, layer)
    target = f"{other.url}/v2/cdn/blobs/{layer.digest}?signature=secret"
    server.on("GET", "/blobs/", lambda _, default: reply_to(default, Reply(307, {"Location": target})), times=9)
    with client(docker_config=login).open_blob(reference(server), layer, 10, 20) as stream:
        assert stream.read() == content_of(server, layer)[10:30]
    assert "Authorization" in server.requests("GET", "/blobs/")[-1].headers
    (request,) = other.requests("GET", "/blobs/")
    assert "Authorization" not in request.headers
    assert request.headers["Range"] == "bytes=10-29"
    assert request.query["signature"] == "secret"


def reply_to(default: Default, reply: Reply) -> Reply:
    """`reply` where the registry would have answered with content."""
    normal = default()
    return normal if normal.status == 401 else reply


def test_redirects_that_go_in_circles_end(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    circle = Reply(302, {"Location": f"/v2/org/model/blobs/{layer.digest}"})
    server.on("GET", "/blobs/", circle, times=99)
    with pytest.raises(ProtocolViolation, match="more than 5 redirects"):
        client().open_blob(reference(server), layer)


@pytest.mark.parametrize("location", ["ftp://example.com/x", "file:///etc/passwd", "http://[bad/"])
def test_redirects_to_nowhere(server: ScriptedRegistry, client: Client, layer: Descriptor, location: str) -> None:
    server.on("GET", "/blobs/", Reply(307, {"Location": location}))
    with pytest.raises(ProtocolViolation, match="no URL"):
        client().open_blob(reference(server), layer)


def test_fetch_into_a_writer(server: ScriptedRegistry, client: Client, layer: Descriptor) -> None:
    store = MemoryStore()
    with store.begin() as writer:
        client().fetch_blob(reference(server), layer, writer)
        assert layer.digest not in store
        assert writer.commit() == layer.digest


def test_a_server_that_speaks_no_http(client: Client) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(4):
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    descriptor, _ = blob(10)
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Unreachable, match="does not speak HTTP"):
        client(attempts=1, plain_http=True).open_blob(Reference.parse(f"{name}/x:y"), descriptor)
    socket.socket.shutdown(listener, socket.SHUT_RDWR)
    listener.close()
    thread.join(5)
