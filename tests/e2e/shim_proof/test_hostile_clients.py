"""Clients that mean harm are refused, and others keep working meanwhile."""

from __future__ import annotations

import http.client
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Defect, Download, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.library import Blob
from tests.e2e.shim_proof.node import NAME, Node
from tests.e2e.shim_proof.raw import connect, exchange, statuses
from tests.e2e.shim_proof.sizes import IDLE, MIB, SEED
from tests.e2e.shim_proof.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MODEL = "org/model"
SECRET = "a file of this machine"
HEX = "0" * 64
TRAVERSALS = [
    "/v2/../secret",
    "/../secret",
    "//secret",
    "/v2//../../secret",
    f"/v2/{NAME}/../../secret",
    f"/v2/{NAME}/org/model/blobs/../../../../../secret",
    f"/v2/{NAME}/org/model/blobs/..%2f..%2f..%2fsecret",
    f"/v2/{NAME}/org/model/blobs/sha256:..%2f..%2f..%2fsecret",
    f"/v2/{NAME}/org/model/blobs/sha256:%2e%2e/%2e%2e/secret",
    f"/v2/{NAME}/org/model/blobs/sha256:{HEX}%00",
    f"/v2/{NAME}/org/model/blobs/sha256:{'A' * 64}",
    f"/v2/{NAME}/org/model/blobs/sha256:{'a' * 65}",
    f"/v2/{NAME}/org/model/blobs/md5:{'a' * 32}",
    f"/v2/{NAME}/org/model/manifests/..%2f..%2fsecret",
    f"/v2/{NAME}/org/model/manifests/{'v' * 4000}",
    f"/v2/{NAME}/../manifests/secret",
    f"/v2/{NAME}/org%2f..%2f..%2f/manifests/secret",
    f"/v2/{NAME}/org/model/referrers/..%2fsecret",
    f"/v2/..%2f..%2f{NAME}/org/model/manifests/v1",
    "/v2/org/model/manifests/v1?ns=..%2f..%2f",
    f"/v2/org/model/manifests/v1?ns={NAME}%2f..%2f..",
    f"/v2/org/model/manifests/v1?ns={NAME}%00",
    "/ui/../../secret",
    "/ui/..%2f..%2fsecret",
    "/metrics/../../secret",
]
SMUGGLED = b"GET /v2/" + NAME.encode() + b"/org/smuggled/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED
SMUGGLING = {
    "length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(CHUNKED) + CHUNKED,
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "lengths in one": b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a signed length": b"Content-Length: +%d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a negative length": b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length that is none": b"Content-Length: 0x10\r\n\r\n" + SMUGGLED,
    "another coding": b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "chunks, misspelt": b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
    "chunks, folded": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: %d\r\n\r\n" % len(CHUNKED) + CHUNKED,
    "chunks, then identity": b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED,
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
    "a chunk without end": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n" + SMUGGLED,
    "NUL in a name": b"X\x00Y: 1\r\n\r\n" + SMUGGLED,
    "CR alone": b"X: 1\rContent-Length: 0\r\n\r\n" + SMUGGLED,
    "no name": b": 1\r\n\r\n" + SMUGGLED,
}
ASKS_INWARDS = ["{cdn}", "user:pass@{cdn}", "http://{cdn}", f"{NAME}@{{cdn}}", f"{{cdn}}/{NAME}", f"{{cdn}}%23.{NAME}"]
RANGES = [
    "bytes=" + ",".join(f"{n}-{n}" for n in range(5000)),
    "bytes=0-0,-1",
    "bytes=-99999999999999999999999999",
    "bytes=99999999999999999999999999-",
    "bytes=0-99999999999999999999999999",
    "bytes=5-2",
    "bytes=--1",
    "bytes=-",
    "bytes=",
    "bytes=-0",
    "bytes=1",
    "bytes=٣-٤",
    "lines=0-1",
    "bytes = 0 - 1",
    "bytes=0-1" + " " * 3000,
]


@pytest.fixture
def model(shim: Node, origin: Upstream) -> Blob:
    """A blob that the shim has; with a secret file beside its folder and in it."""
    for folder in (shim.folder, shim.root):
        (folder / "secret").write_text(SECRET)
    blob = origin.library.noise(MIB, SEED)
    origin.library.image(MODEL, "v1", blob)
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob))
    return blob


@contextmanager
def others_keep_working(shim: Node, blob: Blob) -> Iterator[None]:
    """In the middle and afterwards, for someone who asks properly, within ten seconds."""
    yield
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob), within=10)
    assert get(shim.address, manifest_path(MODEL, "v1"), within=10).status == 200
    assert not shim.has_ended
    assert shim.memory() < 200 * MIB
    assert "Traceback" not in shim.log.read_text()


def request(path: str, *lines: str, version: str = "1.1") -> bytes:
    head = [f"GET {path} HTTP/{version}", "Host: x", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def is_refusal(received: bytes) -> bool:
    """Whether the first answer blames the client."""
    first = [*statuses(received), 0][0]
    return 400 <= first < 500


def test_paths_lead_nowhere(shim: Node, model: Blob) -> None:
    with others_keep_working(shim, model):
        for path in TRAVERSALS:
            received = exchange(shim.address, request(path, "Connection: close"))
            assert SECRET.encode() not in received, path
            assert is_refusal(received), (path, received[:300])
    assert {path.name for path in shim.folder.iterdir()} <= {"root", "log", "ready", "secret"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_are_not_smuggled(method: str, shim: Node, origin: Upstream, model: Blob) -> None:
    with others_keep_working(shim, model):
        for name, rest in SMUGGLING.items():
            received = exchange(shim.address, method.encode() + b" /v2/ HTTP/1.1\r\nHost: x\r\n" + rest)
            assert len(statuses(received)) <= 1, (name, received[:500])
    asked = [line["path"] for line in origin.journal() if "smuggled" in line["path"]]
    assert asked == []


def test_only_upstreams_are_asked(shim: Node, origin: Upstream, model: Blob) -> None:
    before = len(origin.journal())
    with others_keep_working(shim, model):
        for pattern in [*ASKS_INWARDS, "169.254.169.254", "127.0.0.1:1", "[::1]", "localhost", "_default", ""]:
            name = pattern.format(cdn=origin.cdn)
            for target in (f"/v2/org/other/manifests/v1?ns={name}", f"/v2/{name}/org/other/manifests/v1"):
                received = exchange(shim.address, request(target, "Connection: close"))
                assert is_refusal(received), (target, received[:300])
        for head in (
            f"GET http://{origin.cdn}/v2/org/other/manifests/v1 HTTP/1.1\r\nHost: {origin.cdn}\r\n",
            f"GET /v2/org/other/manifests/v1 HTTP/1.1\r\nHost: {origin.cdn}\r\n",
            f"CONNECT {origin.cdn} HTTP/1.1\r\nHost: {origin.cdn}\r\n",
            f"GET /v2/org/other/manifests/v1 HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: {origin.cdn}\r\n",
            f"GET /v2/org/other/manifests/v1 HTTP/1.1\r\nHost: {NAME}@{origin.cdn}\r\n",
        ):
            received = exchange(shim.address, f"{head}Connection: close\r\n\r\n".encode())
            assert not statuses(received) or statuses(received)[0] >= 400, (head, received[:300])
    asked = [line for line in origin.journal()[before:] if "org/other" in line["path"]]
    assert asked == []


def test_hosts_that_are_not_one(shim: Node, model: Blob) -> None:
    with others_keep_working(shim, model):
        path = blob_path(MODEL, model.digest)
        for head in (
            f"GET {path} HTTP/1.1\r\n",
            f"GET {path} HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
            f"GET {path} HTTP/9.9\r\nHost: a\r\n",
            f"GET {path}\r\n",
            f"GE\x00T {path} HTTP/1.1\r\nHost: a\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n",
            f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
        ):
            received = exchange(shim.address, f"{head}\r\n".encode())
            assert 500 not in statuses(received), (head, received[:300])


def test_ranges_that_are_not_one(shim: Node, model: Blob) -> None:
    truth = model.content()
    with others_keep_working(shim, model):
        for value in RANGES:
            connection = http.client.HTTPConnection(shim.address, timeout=20)
            connection.putrequest("GET", blob_path(MODEL, model.digest))
            connection.putheader("Range", value.encode())
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            assert answer.status in (200, 206, 400, 416, 431), (value[:50], answer.status)
            if answer.status == 200:
                assert body == truth
            if answer.status == 206:
                first, _, last = (answer.getheader("Content-Range") or "").removeprefix("bytes ").partition("-")
                assert body == truth[int(first) : int(last.partition("/")[0]) + 1], value[:50]


@pytest.mark.parametrize(
    "lines",
    [
        ["X: " + "a" * (4 << 20)],
        [f"X-{n}: {'a' * 100}" for n in range(20_000)],
        ["Authorization: Bearer " + "a" * (1 << 20)],
        ["Accept: " + "application/vnd.oci.image.manifest.v1+json, " * 50_000],
    ],
    ids=["one header of 4 MiB", "20,000 headers", "a token of 1 MiB", "a long Accept"],
)
def test_giant_headers(lines: list[str], shim: Node, model: Blob) -> None:
    with others_keep_working(shim, model):
        received = exchange(shim.address, request("/v2/", *lines))
        assert all(400 <= status < 500 for status in statuses(received)), received[:300]


def test_giant_targets(shim: Node, model: Blob) -> None:
    with others_keep_working(shim, model):
        for path in (
            "/v2/" + "a/" * (1 << 19),
            f"/v2/?{'a=b&' * (1 << 18)}",
            f"/v2/{NAME}/" + "a" * 300 + "/tags/list",
        ):
            received = exchange(shim.address, request(path, "Connection: close"))
            assert all(400 <= status < 500 for status in statuses(received)), received[:300]


def test_pushes_are_refused_without_reading_them(shim: Node, model: Blob) -> None:
    with others_keep_working(shim, model):
        for method, path in (
            ("POST", f"/v2/{NAME}/org/model/blobs/uploads/"),
            ("PUT", f"/v2/{NAME}/org/model/manifests/v1"),
            ("DELETE", f"/v2/{NAME}/org/model/manifests/v1"),
            ("PATCH", f"/v2/{NAME}/org/model/blobs/uploads/1"),
            ("POST", "/v2/org/model/blobs/uploads/"),
        ):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\n\r\n".encode()
            received = exchange(shim.address, head + bytes(4 * MIB), quiet=0.3)
            assert all(400 <= status < 500 for status in statuses(received)), received[:300]


def test_pipelined_requests_are_answered_in_order(shim: Node, model: Blob) -> None:
    truth = model.content()
    ranges = [(n * 100, n * 100 + 9) for n in range(50)]
    data = b"".join(request(blob_path(MODEL, model.digest), f"Range: bytes={a}-{b}") for a, b in ranges)
    received = exchange(shim.address, data)
    assert statuses(received.replace(b"HTTP/1.1 206", b"\nHTTP/1.1 206")) == [206] * 50
    bodies = [part[:10] for part in received.split(b"\r\n\r\n")[1:]]
    assert bodies == [truth[a : b + 1] for a, b in ranges]


def test_old_clients_are_served(shim: Node, model: Blob) -> None:
    received = exchange(shim.address, request(blob_path(MODEL, model.digest), version="1.0"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body == model.content()


def test_idle_connections(shim: Node, model: Blob) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            for _ in range(IDLE):
                stack.enter_context(connect(shim.address))
            with others_keep_working(shim, model):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.soak
def test_slow_loris(shim: Node, model: Blob) -> None:
    """Heads that never end: others are served, and those who send them are hung up on."""
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(shim.address)) for _ in range(200)]
        for sock in slow:
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        with others_keep_working(shim, model):
            _drip(slow)

        def all_gone() -> bool:
            _drip(slow)
            return not slow

        eventually(all_gone, "those whose head does not end are hung up on", 90 - (time.monotonic() - began))


def test_readers_that_do_not_read(shim: Node, origin: Upstream, model: Blob) -> None:
    """They hold neither memory nor the fetching that others wait for."""
    large = origin.library.noise(64 * MIB, SEED + 1)
    origin.library.image("org/large", "v1", large)
    path = blob_path("org/large", large.digest)
    with ExitStack() as stack:
        for _ in range(100):
            sock = stack.enter_context(connect(shim.address))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(request(path))
        with others_keep_working(shim, model):
            download(shim.address, Download(path=path, blob=large), within=30)


def test_a_blob_is_no_manifest_and_a_manifest_no_blob(shim: Node, origin: Upstream, model: Blob) -> None:
    """The upstream says which is which; the shim's cache, which knows digests, must not."""
    manifest = origin.library.image("org/other", "v1", origin.library.noise(100, SEED + 2))
    checks.takes_manifest(shim, "org/other", "v1", manifest)
    checks.refused(shim, manifest_path(MODEL, model.digest))
    checks.refused(shim, manifest_path(MODEL, manifest.digest))
    checks.refused(shim, blob_path("org/other", model.digest))
    reply = get(shim.address, blob_path("org/other", manifest.digest))
    if reply.status == 200 and reply.body != manifest.content():
        raise Defect("another content under a digest")


def _drip(slow: list[socket.socket]) -> None:
    """One byte from each; those that were hung up on go."""
    for sock in list(slow):
        sock.settimeout(0.01)
        try:
            sock.sendall(b"X")
            gone = sock.recv(1000) == b""
        except TimeoutError:
            continue
        except OSError:
            gone = True
        if gone:
            slow.remove(sock)
