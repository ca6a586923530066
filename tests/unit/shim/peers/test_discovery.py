"""Who the members are: DNS and Kubernetes, asked over real sockets."""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelcar.errors import UsageError, WorldError
from registry_shim.peers.discovery import DnsMembers, StaticMembers
from registry_shim.peers.kubernetes import KubernetesMembers
from registry_shim.peers.members import Member
from registry_shim.peers.settings import KubernetesSettings
from registry_shim.peers.srv import resolve_srv

pytestmark = pytest.mark.slow


class Told:
    """What discovery said, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[frozenset[Member]] = queue.Queue()

    def __call__(self, members: Iterable[Member]) -> None:
        self._queue.put(frozenset(members))

    def next(self) -> set[str]:
        return {f"{m.name}={m.zone}" for m in self._queue.get(timeout=10)}


def slice_of(name: str, *addresses: str, ready: bool | None = True, zone: str = "a") -> dict[str, Any]:
    endpoint = {"addresses": list(addresses), "conditions": {"ready": ready}, "zone": zone}
    return {
        "metadata": {"name": name},
        "ports": [{"name": "web", "port": 5000}, {"name": "peers", "port": 5443}],
        "endpoints": [endpoint],
    }


class ApiServer(ThreadingHTTPServer):
    """Kubernetes' API as far as we ask it. `events` go to whoever watches; `None` ends the watch."""

    daemon_threads = True

    def __init__(self, slices: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.slices = slices
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[tuple[str, dict[str, list[str]], str | None]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.server.seen.append((parts.path, query, self.headers.get("Authorization")))
        self.send_response(self.server.status)
        if "watch" in query:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while (event := self.server.events.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
            return
        body = json.dumps({"metadata": {"resourceVersion": "7"}, "items": self.server.slices}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def api_server(*slices: dict[str, Any]) -> Iterator[ApiServer]:
    with ApiServer(list(slices)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.events.put(None)
            server.shutdown()
            thread.join()


@contextmanager
def following(server: ApiServer, account: Path) -> Iterator[Told]:
    account.mkdir(exist_ok=True)
    (account / "token").write_text("s3cret\n")
    (account / "namespace").write_text("models")
    url = f"http://127.0.0.1:{server.server_port}"
    discovery = KubernetesMembers(KubernetesSettings(service="shim", api=url, account=account))
    told = Told()
    thread = threading.Thread(target=discovery.run, args=(told,))
    thread.start()
    try:
        yield told
    finally:
        discovery.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_kubernetes_tells_of_joins_and_leaves(tmp_path: Path) -> None:
    with api_server(slice_of("one", "10.0.0.1")) as server, following(server, tmp_path / "sa") as told:
        assert told.next() == {"10.0.0.1:5443=a"}
        server.events.put({"type": "ADDED", "object": slice_of("two", "10.0.0.2", "10.0.0.3", zone="b")})
        assert told.next() == {"10.0.0.1:5443=a", "10.0.0.2:5443=b", "10.0.0.3:5443=b"}
        server.events.put({"type": "BOOKMARK", "object": {}})
        server.events.put({"type": "MODIFIED", "object": slice_of("two", "10.0.0.3", zone="b")})
        assert told.next() == {"10.0.0.1:5443=a", "10.0.0.3:5443=b"}
        server.events.put({"type": "DELETED", "object": slice_of("one")})
        assert told.next() == {"10.0.0.3:5443=b"}
        path, query, authorization = server.seen[0]
        assert path == "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices"
        assert query["labelSelector"] == ["kubernetes.io/service-name=shim"]
        assert authorization == "Bearer s3cret"
        assert server.seen[1][1]["resourceVersion"] == ["7"]


def test_endpoints_that_are_not_ready_are_no_members(tmp_path: Path) -> None:
    slices = slice_of("one", "10.0.0.1", ready=False), slice_of("two", "10.0.0.2", ready=None)
    with api_server(*slices) as server, following(server, tmp_path / "sa") as told:
        assert told.next() == {"10.0.0.2:5443=a"}


def test_a_watch_that_is_too_old_begins_anew(tmp_path: Path) -> None:
    with api_server(slice_of("one", "10.0.0.1")) as server, following(server, tmp_path / "sa") as told:
        told.next()
        server.slices = [slice_of("one", "10.0.0.9")]
        server.events.put({"type": "ERROR", "object": {"code": 410}})
        assert told.next() == {"10.0.0.9:5443=a"}


def test_an_api_server_that_refuses_changes_nothing_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with api_server(slice_of("one", "10.0.0.1")) as server:
        server.status = 403
        with following(server, tmp_path / "sa") as told:
            while not caplog.messages:
                threading.Event().wait(0.01)
            assert "403" in caplog.messages[0]
            assert "role" in caplog.messages[0]
            assert "s3cret" not in caplog.text
            assert told._queue.empty()


def test_outside_of_a_cluster_one_must_say_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UsageError, match="no pod"):
        KubernetesMembers(KubernetesSettings(service="shim", account=tmp_path))


@pytest.mark.parametrize("name", ["", "a b", "../..", "user:pw@host", "Upper", "-a", "a" * 64, "a\nb"])
@pytest.mark.parametrize("what", ["service", "namespace", "port"])
def test_names_that_kubernetes_does_not_have(what: str, name: str) -> None:
    given: dict[str, str] = {"service": "shim", what: name}
    with pytest.raises(UsageError, match=f"is not the name of a {what}"):
        KubernetesSettings(**given)  # type: ignore[arg-type]  # settings by their names


@pytest.mark.parametrize(
    "api", ["", "10.0.0.1", "ftp://a", "https://", "https://a:99999", "https://[::1", "https://a b"]
)
def test_an_api_server_that_is_none(api: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of an API server"):
        KubernetesSettings(service="shim", api=api)


def test_a_password_for_the_api_server_is_not_shown() -> None:
    with pytest.raises(UsageError, match="takes no credentials") as caught:
        KubernetesSettings(service="shim", api="https://user:s3cret@10.0.0.1")
    assert "s3cret" not in str(caught.value)


def test_a_list_is_told_once() -> None:
    told = Told()
    StaticMembers(["10.0.0.1=a", "10.0.0.2:7=b"]).run(told)
    assert told.next() == {"10.0.0.1:5443=a", "10.0.0.2:7=b"}


def test_addresses_of_a_name() -> None:
    assert Member("127.0.0.1", 7000) in DnsMembers("localhost:7000", 30).resolve()
    with pytest.raises(WorldError, match="cannot be resolved"):
        DnsMembers("no-such-host.invalid:7000", 30).resolve()


@contextmanager
def name_server(answer: bytes, *, flags: int = 0x8180, count: int = 1) -> Iterator[tuple[str, int]]:
    """Answers one question over TCP."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            (length,) = struct.unpack("!H", connection.recv(2))
            query = connection.recv(length)
            reply = query[:2] + struct.pack("!5H", flags, 1, count, 0, 0) + query[12:] + answer
            connection.sendall(struct.pack("!H", len(reply)) + reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


def record(port: int, target: bytes) -> bytes:
    data = struct.pack("!3H", 10, 5, port) + target
    return b"\xc0\x0c" + struct.pack("!HHIH", 33, 1, 60, len(data)) + data


def test_srv_records_name_hosts_and_ports() -> None:
    answer = record(5443, b"\x05Node1\x07example\0") + record(7000, b"\x05node2\xc0\x18")
    with name_server(answer, count=2) as server:
        found = resolve_srv("_peers._tcp.example", [server])
    assert found == [Member("node1.example", 5443), Member("node2.example", 7000)]


@pytest.mark.parametrize(
    ("answer", "flags", "why"),
    [(b"", 0x8183, "no such name"), (b"", 0x8182, "fails"), (b"\xc0\x0c", 0x8180, ""), (b"", 0x0100, "another")],
)
def test_srv_answers_that_are_none(answer: bytes, flags: int, why: str) -> None:
    with name_server(answer, flags=flags) as server, pytest.raises(WorldError, match=f"cannot be resolved: .*{why}"):
        resolve_srv("_peers._tcp.example", [server])


def test_a_compressed_name_that_points_to_itself() -> None:
    loop = struct.pack("!3H", 1, 1, 1) + b"\xc0\x3f"
    answer = b"\xc0\x0c" + struct.pack("!HHIH", 33, 1, 60, len(loop)) + loop
    with name_server(answer) as server, pytest.raises(WorldError):
        resolve_srv("_peers._tcp.example", [server])
