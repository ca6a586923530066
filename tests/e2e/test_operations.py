"""A node as an operator sees it: a real process, configured by a file, protected, watched, changed and stopped."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelcar.oci import Digest
from registry_shim.testing import running_registry
from tests.e2e.support.commands import BIN
from tests.support.authority import Authority
from tests.support.waiting import eventually

CONTENT = os.urandom(64 << 20)
BLOB = Digest.of(CONTENT)
TOKEN = "t0ken-of-the-node-agent"


@dataclass
class Shim:
    """`registry-shim serve --config`, and its log so far."""

    process: subprocess.Popen[str]
    address: str
    config: Path
    log_file: Path
    context: ssl.SSLContext | None = None

    def connect(self) -> http.client.HTTPConnection:
        if self.context is not None:
            return http.client.HTTPSConnection(self.address, timeout=20, context=self.context)
        return http.client.HTTPConnection(self.address, timeout=20)

    def get(self, url: str, **headers: str) -> tuple[int, bytes]:
        with closing(self.connect()) as connection:
            connection.request("GET", url, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def said(self, text: str) -> Callable[[], bool]:
        return lambda: any(text in entry["message"] for entry in self.log())

    def configure(self, **settings: Any) -> None:
        """Replace the file, as Kubernetes and careful editors do."""
        document = json.loads(self.config.read_text()) | settings
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.replace(self.config)

    def metric(self, name: str, url: str = "/metrics", **labels: str) -> float:
        _, body = self.get(url)
        samples = [s for family in text_string_to_metric_families(body.decode()) for s in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@contextmanager
def shim(folder: Path, *, context: ssl.SSLContext | None = None, **settings: Any) -> Iterator[Shim]:
    config, ready, log_file = folder / "config.yaml", folder / "ready", folder / "log"
    base = {"root": str(folder / "root"), "listen": "127.0.0.1:0", "log": {"format": "json", "level": "info"}}
    config.write_text(json.dumps(base | settings))
    command = [BIN / "registry-shim", "serve", "--config", config, "--ready-file", ready]
    with open(log_file, "w") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=log, text=True)
    try:
        eventually(lambda: ready.exists() or process.poll() is not None, "the shim starts")
        assert process.poll() is None, log_file.read_text()
        yield Shim(process, ready.read_text().strip(), config, log_file, context)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with running_registry() as registry:
        host, _, port = registry.rpartition(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as connection:
            connection.request("POST", f"/v2/org/model/blobs/uploads/?digest={BLOB}", CONTENT)
            assert connection.getresponse().status == 201
        yield registry


def in_front_of(upstream: str) -> dict[str, Any]:
    return {"mirror": {"upstreams": [{"registry": upstream, "urls": [f"http://{upstream}"]}]}}


def test_a_pull_is_seen_in_metrics_log_and_page(tmp_path: Path, upstream: str) -> None:
    with shim(tmp_path, **in_front_of(upstream)) as node:
        url = f"/v2/{upstream}/org/model/blobs/{BLOB}"
        for _ in range(2):
            assert node.get(f"{url}?token=secret-in-a-query", Authorization="Bearer c2VjcmV0LXRva2Vu")[1] == CONTENT
        assert node.get("/readyz") == (200, b"ok\n")
        assert node.metric("registry_shim_fetched_bytes_total", source="upstream") == len(CONTENT)
        assert node.metric("registry_shim_http_sent_bytes_total", route="blob") == 2 * len(CONTENT)
        assert node.metric("registry_shim_http_requests_total", route="blob", code="200") == 2
        assert 0 < node.metric("registry_shim_capacity_used_rate") < 1
        page = json.loads(node.get("/ui/data.json")[1])
        assert page["totals"]["upstream"] == len(CONTENT)
        assert page["ready"] is True
        (first, second) = [entry for entry in node.log() if entry.get("route") == "blob"]
        assert (first["status"], first["bytes"], first["client"]) == (200, len(CONTENT), "127.0.0.1")
        assert first["repository"] == second["repository"] == f"{upstream}/org/model"
        text = node.log_file.read_text()
        assert "secret" not in text
        assert "c2VjcmV0" not in text


def test_it_changes_while_it_runs(tmp_path: Path) -> None:
    with shim(tmp_path, writable=True) as node:
        node.configure(log={"format": "json", "level": "loud"}, limits={"header_count": 3, "requestz": 4})
        node.process.send_signal(signal.SIGHUP)
        eventually(node.said("did you mean requests?"), "the log says what is wrong")
        eventually(node.said("log.level is one of"), "all of it")
        assert node.get("/v2/", A="1", B="2", C="3")[0] == 200, "and nothing has changed"
        node.configure(log={"format": "json", "level": "info"}, limits={"header_count": 3}, root="/elsewhere")
        eventually(node.said("limits.header_count has changed"), "a changed file is seen without a signal")
        assert node.get("/v2/", A="1", B="2", C="3")[0] == 431
        assert any("root changes with the next restart" in entry["message"] for entry in node.log())


def test_upstreams_and_rules_change_while_it_runs(tmp_path: Path, upstream: str) -> None:
    other: dict[str, Any] = {"mirror": {"upstreams": [{"registry": "other.example", "urls": ["http://127.0.0.1:9"]}]}}
    url = f"/v2/{upstream}/org/model/blobs/{BLOB}"
    with shim(tmp_path, **other) as node:
        assert node.get(url)[0] == 400, "without the upstream that is no name"
        node.configure(**in_front_of(upstream))
        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: node.get(url)[0] == 200, "the new upstream is one")
        node.configure(gate={"rules": [{"images": "other.example/**", "formats": ["safetensors"]}]})
        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: node.get(url)[0] == 403, "no rule speaks about it now")
        node.configure(gate={"rules": [{"images": "a/**", "policies": ["/none"]}]})
        node.process.send_signal(signal.SIGHUP)
        eventually(node.said("the configuration is not changed"), "a policy that is not there is said")
        assert node.get(url)[0] == 403


def test_who_asks_must_say_so_and_may_be_changed(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue_for_loopback("node")
    users, tokens = tmp_path / "users", tmp_path / "tokens"
    for path, text in (
        (users, f"alice:{bcrypt.hashpw(b'sesame', bcrypt.gensalt(4)).decode()}"),
        (tokens, f"a:{TOKEN}"),
    ):
        path.touch(0o600)
        path.write_text(text)
    settings = {
        "listen": "0.0.0.0:0",
        "writable": True,
        "tls": {"certificate_file": str(certificate), "key_file": str(key)},
        "authentication": {"htpasswd_file": str(users)},
    }
    basic = "Basic " + b64encode(b"alice:sesame").decode()
    with shim(tmp_path, context=ssl.create_default_context(cafile=str(authority.ca_file)), **settings) as node:
        node.address = node.address.replace("0.0.0.0", "127.0.0.1")
        assert node.get("/healthz")[0] == 200
        for url in ("/v2/", "/metrics", "/ui"):
            assert node.get(url)[0] == 401
            assert node.get(url, Authorization=basic)[0] == 200
        assert node.get("/v2/", Authorization=f"Bearer {TOKEN}")[0] == 401
        node.configure(authentication={"tokens_file": str(tokens)})
        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: node.get("/v2/", Authorization=f"Bearer {TOKEN}")[0] == 200, "the token counts")
        assert node.get("/v2/", Authorization=basic)[0] == 401
        node.configure(authentication={})
        node.process.send_signal(signal.SIGHUP)
        eventually(node.said("nobody has to say who they are"), "it does not open itself to everyone")
        assert node.get("/v2/")[0] == 401


def test_a_running_download_is_finished_and_a_second_signal_does_not_wait(tmp_path: Path, upstream: str) -> None:
    for insists in (False, True):
        folder = tmp_path / str(insists)
        folder.mkdir()
        with shim(folder, stop_seconds=60, **in_front_of(upstream)) as node:
            with socket.create_connection(("127.0.0.1", int(node.address.rpartition(":")[2])), timeout=20) as slow:
                slow.sendall(f"GET /v2/{upstream}/org/model/blobs/{BLOB} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
                received = bytearray(slow.recv(1 << 16))
                node.process.terminate()
                time.sleep(0.5)
                assert node.process.poll() is None, "somebody is still served"
                if insists:
                    node.process.terminate()
                    assert node.process.wait(20) == 0
                    continue
                while data := slow.recv(1 << 20):
                    received += data
            assert received.partition(b"\r\n\r\n")[2] == CONTENT
            assert node.process.wait(20) == 0


def test_traces_reach_a_collector(tmp_path: Path, upstream: str) -> None:
    received: list[tuple[str, str | None, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            received.append((self.path, self.headers["X-Key"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    headers = tmp_path / "headers"
    headers.write_text("X-Key: of the collector\n")
    trace = "0af7651916cd43dd8448eb211c80319c"
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
        traces = {"endpoint": endpoint, "share": 1.0, "headers_file": str(headers)}
        with shim(tmp_path, traces=traces, **in_front_of(upstream)) as node:
            parent = f"00-{trace}-b7ad6b7169203331-01"
            assert node.get(f"/v2/{upstream}/org/model/blobs/{BLOB}", traceparent=parent)[1] == CONTENT
            node.process.terminate()
            assert node.process.wait(20) == 0
        collector.shutdown()
    assert {(path, key) for path, key, _ in received} == {("/v1/traces", "of the collector")}
    everything = b"".join(body for _, _, body in received)
    assert bytes.fromhex(trace) in everything
    assert b"GET blob" in everything
    assert b"fetch" in everything


def test_a_collector_that_is_away_holds_nothing_up(tmp_path: Path, upstream: str) -> None:
    traces = {"endpoint": "http://127.0.0.1:9/v1/traces", "share": 1.0}
    with shim(tmp_path, traces=traces, **in_front_of(upstream)) as node:
        assert node.get(f"/v2/{upstream}/org/model/blobs/{BLOB}")[1] == CONTENT
        node.process.terminate()
        assert node.process.wait(30) == 0
    assert all("Traceback" not in line["message"] for line in node.log())


def test_systemd_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with shim(tmp_path, writable=True) as node:
            heard = {systemd.recv(100) for _ in range(3)}
            assert heard == {b"READY=1", b"WATCHDOG=1"}
            node.process.terminate()
            while systemd.recv(100) != b"STOPPING=1":
                pass
            assert node.process.wait(20) == 0


def test_pages_on_a_listener_of_their_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with shim(tmp_path, writable=True, metrics_listen=f"127.0.0.1:{port}") as node:
        assert node.get("/metrics")[0] == 404
        assert node.get("/readyz")[0] == 200
        node.address = f"127.0.0.1:{port}"
        assert node.get("/metrics")[0] == 200
        assert node.get("/v2/")[0] == 404


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"listen": "0.0.0.0:0"}, "there is no TLS"),
        ({"listen": "127.0.0.1:0", "metrics_listen": "0.0.0.0:0"}, "there is no TLS"),
        ({"rooot": "/"}, "did you mean root?"),
        ({"tls": {"certificate_file": "/none", "key_file": "/none"}}, "cannot read /none"),
        ({"authentication": {"tokens_file": "/none"}}, "cannot read /none"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tmp_path: Path, settings: dict[str, Any], problem: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps({"root": str(tmp_path / "root"), "listen": "127.0.0.1:0", "writable": True} | settings)
    )
    command = [str(BIN / "registry-shim"), "serve", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (2, 3)
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
