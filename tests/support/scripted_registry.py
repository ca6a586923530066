"""A small registry in memory, on a real socket, that misbehaves on demand.

It does what the distribution specification asks until a *rule* says otherwise:

    registry.on("GET", "/blobs/", cut_after(1000))          # the next such request: the connection breaks
    registry.on("PUT", "/manifests/", Reply(500), times=2)  # the next two: an error
    registry.on("HEAD", "/manifests/", changed(headers={"Docker-Content-Digest": "sha256:..."}))

Rules apply to requests whose path contains the given text, in the order in which they were made, `times` times each.
`registry.seen` lists every request.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_BLOCK = 1 << 16
DROP = 0  # the status of an answer that never comes: the connection is closed instead


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """`length` overrides the true Content-Length (-1: none at all); `cut` closes the connection after so many bytes of
    the body; `stall` waits (seconds) before the body, or after `stall_at` bytes of it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    cut: int | None = None
    stall: float = 0
    stall_at: int = 0


Default = Callable[[], Reply]
Action = Callable[[Request, Default], Reply]


@dataclass
class Rule:
    """`reads`: how much of the request's body is taken before the action answers, and then hangs up; `None` is all."""

    method: str
    path: str
    action: Action
    times: int
    reads: int | None


def cut_after(n: int) -> Action:
    """The right answer, but the connection breaks after `n` bytes of its body."""
    return lambda _, default: replace(default(), cut=n)


def always(reply: Reply) -> Action:
    return lambda _request, _default: reply


def changed(**changes: Any) -> Action:
    """The right answer with other fields; headers are added to its own."""

    def action(request: Request, default: Default) -> Reply:
        reply = default()
        headers = {**reply.headers, **changes.get("headers", {})}
        return replace(reply, **{**changes, "headers": headers})

    return action


class ScriptedRegistry:
    """Runs in threads of this process. `blobs`, `manifests` and `tags` are its content, open to every test."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}  # (repository, tag or digest): type and content
        self.uploads: dict[str, bytearray] = {}
        self.deleted_uploads: list[str] = []
        self.seen: list[Request] = []
        self.guard: Callable[[Request], Reply | None] = lambda _: None
        self.knows_referrers = False
        self.location_query = ""  # what upload locations carry, as a signature would
        self._sessions = itertools.count()
        self._rules: list[Rule] = []
        self._lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        self.closing = threading.Event()
        self.began_to_stall, self.stalled_to_the_end = threading.Event(), threading.Event()
        self._server = _Server(self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https" if tls else "http"
        self.port = self._server.server_address[1]
        self.name = f"127.0.0.1:{self.port}"
        self.url = f"{self.scheme}://{self.name}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def on(self, method: str, path: str, action: Action | Reply, *, times: int = 1, reads: int | None = None) -> None:
        """For the next `times` requests that match, answer by `action`."""
        act = always(action) if isinstance(action, Reply) else action
        self._rules.append(Rule(method, path, act, times, reads))

    def requests(self, method: str, path: str = "") -> list[Request]:
        return [r for r in self.seen if r.method == method and path in r.path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody listens at its port from now on, nor does anything else that a test starts."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        held = socket.socket()
        weakref.finalize(self, held.close)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", self.port))
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._thread.join()
        for thread in self._server.workers:
            thread.join(5)
        self._rules.clear()
        del self._server  # it and the rules know this one; nothing needs to be collected, then, to let go of the port

    def _take_rule(self, request: Request) -> Rule | None:
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and rule.method == request.method and rule.path in request.path:
                    rule.times -= 1
                    return rule
        return None

    # The specification, as far as a client can see it.

    def answer(self, request: Request) -> Reply:
        with self._lock:
            if request.path == "/v2/":
                return Reply(200, body=b"{}")
            match = re.fullmatch(r"/v2/(.+?)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)", request.path)
            if match is None:
                return error(404, "NAME_UNKNOWN")
            repository, kind, rest = match.groups()
            if kind == "blobs/uploads":
                return self._upload(request, repository, rest)
            if kind == "blobs":
                return self._blob(request, rest)
            if kind == "manifests":
                return self._manifest(request, repository, rest)
            if kind == "referrers":
                return self._referrers(repository, rest)
            return self._tags(repository)

    def _blob(self, request: Request, digest: str) -> Reply:
        if digest not in self.blobs:
            return error(404, "BLOB_UNKNOWN")
        content = self.blobs[digest]
        headers = {"Docker-Content-Digest": digest}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if match is None or request.method == "HEAD":
            return Reply(200, headers, content)
        start, end = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
        if start >= len(content):
            return error(416, "RANGE_INVALID")
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return Reply(206, headers, content[start : end + 1])

    def _manifest(self, request: Request, repository: str, target: str) -> Reply:
        if request.method == "PUT":
            digest = _sha256(request.body)
            entry = (request.headers.get("Content-Type", ""), request.body)
            self.manifests[repository, target] = self.manifests[repository, digest] = entry
            headers = {"Docker-Content-Digest": digest}
            subject = json.loads(request.body).get("subject")
            if subject and self.knows_referrers:
                headers["OCI-Subject"] = subject["digest"]
            return Reply(201, headers)
        if (repository, target) not in self.manifests:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if request.method == "DELETE":
            del self.manifests[repository, target]
            return Reply(202)
        media_type, content = self.manifests[repository, target]
        return Reply(200, {"Content-Type": media_type, "Docker-Content-Digest": _sha256(content)}, content)

    def _tags(self, repository: str) -> Reply:
        tags = sorted(t for r, t in self.manifests if r == repository and ":" not in t)
        return Reply(200, {"Content-Type": "application/json"}, json.dumps({"name": repository, "tags": tags}).encode())

    def _referrers(self, repository: str, digest: str) -> Reply:
        if not self.knows_referrers:
            return Reply(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
        found = {}
        for (where, _), (media_type, content) in self.manifests.items():
            document = json.loads(content)
            if where == repository and document.get("subject", {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": _sha256(content), "size": len(content)}
                found[_sha256(content)] = {**entry, "artifactType": document.get("artifactType")}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(found.values())}
        return Reply(200, {"Content-Type": INDEX}, json.dumps(index).encode())

    def _upload(self, request: Request, repository: str, session: str) -> Reply:
        if request.method == "POST":
            mount = request.query.get("mount")
            if mount is not None and mount in self.blobs:
                return Reply(201, {"Location": f"/v2/{repository}/blobs/{mount}", "Docker-Content-Digest": mount})
            session = f"s{next(self._sessions)}"
            self.uploads[session] = bytearray()
            return Reply(202, self._session_headers(repository, session))
        if session not in self.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        data = self.uploads[session]
        if request.method == "DELETE":
            del self.uploads[session]
            self.deleted_uploads.append(session)
            return Reply(204)
        if request.method == "GET":
            return Reply(204, self._session_headers(repository, session))
        if request.method == "PATCH":
            match = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("Content-Range", f"{len(data)}-0"))
            if match is None or int(match[1]) != len(data):
                return replace(error(416, "RANGE_INVALID"), headers=self._session_headers(repository, session))
            data += request.body
            return Reply(202, self._session_headers(repository, session))
        data += request.body
        digest = request.query.get("digest", "")
        if _sha256(data) != digest:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[digest] = bytes(self.uploads.pop(session))
        return Reply(201, {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _session_headers(self, repository: str, session: str) -> dict[str, str]:
        size = len(self.uploads[session])
        location = f"/v2/{repository}/blobs/uploads/{session}{self.location_query}"
        return {"Location": location, "Range": f"0-{max(0, size - 1)}"}


INDEX = "application/vnd.oci.image.index.v1+json"


def error(status: int, code: str, message: str = "") -> Reply:
    """An error in the specification's format."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, {"Content-Type": "application/json"}, body)


class TokenService:
    """A token server for `registry`, on a server of its own; `users` are its accounts, anonymous included as ""."""

    def __init__(self, registry: ScriptedRegistry, host: ScriptedRegistry) -> None:
        self.users: dict[str, str] = {"": ""}
        self.valid: set[str] = set()
        self.asked: list[Request] = []
        self.expires_in = 300
        self._realm = f"{host.url}/token"
        registry.guard = self.check
        host.guard = self.issue

    def check(self, request: Request) -> Reply | None:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") in self.valid:
            return None
        repository = request.path.removeprefix("/v2/").split("/blobs")[0].split("/manifests")[0]
        challenge = f'Bearer realm="{self._realm}",service="test",scope="repository:{repository}:pull"'
        return replace(error(401, "UNAUTHORIZED"), headers={"WWW-Authenticate": challenge})

    def issue(self, request: Request) -> Reply | None:
        import base64

        self.asked.append(request)
        authorization = request.headers.get("Authorization", "")
        if request.method == "POST":
            form = {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
            user = password = form.get("refresh_token", "")
        else:
            decoded = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            user, _, password = decoded.partition(":")
        if self.users.get(user) != password:
            return Reply(401, body=b"wrong password")
        token = f"token-{len(self.asked)}-{user}"
        self.valid.add(token)
        return Reply(200, body=json.dumps({"token": token, "expires_in": self.expires_in}).encode())


def _sha256(data: bytes | bytearray) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, registry: ScriptedRegistry) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.workers: list[threading.Thread] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.workers.append(thread)
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up, TLS handshakes fail: that is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.registry._connections.add(self.connection)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.server.registry._connections.discard(self.connection)

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        registry = self.server.registry
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        request = Request(self.command, parts.path, query, self.headers)  # type: ignore[arg-type]  # a message's headers, read as a mapping
        rule = registry._take_rule(request)
        length = int(self.headers.get("Content-Length", 0))
        reads = length if rule is None or rule.reads is None else min(rule.reads, length)
        request = replace(request, body=b"".join(self._body(reads)))
        registry.seen.append(request)

        def default() -> Reply:
            return registry.guard(request) or registry.answer(request)

        reply = rule.action(request, default) if rule else default()
        self._send(reply, hang_up=reads < length)

    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815  # the standard library's names

    def _body(self, n: int) -> Iterator[bytes]:
        while n > 0 and (data := self.rfile.read(min(n, _BLOCK))):
            n -= len(data)
            yield data

    def _send(self, reply: Reply, *, hang_up: bool) -> None:
        if reply.status == DROP:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.body) if reply.length is None else reply.length
        if length >= 0 and reply.status != 204:
            self.send_header("Content-Length", str(length))
        if length < 0 or hang_up:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        body = reply.body[: reply.cut] if self.command != "HEAD" and reply.status != 204 else b""
        if reply.stall:
            self.wfile.write(body[: reply.stall_at])
            body = body[reply.stall_at :]
            self.server.registry.began_to_stall.set()
            self.server.registry.closing.wait(reply.stall)
            self.server.registry.stalled_to_the_end.set()
        self.wfile.write(body)
        if reply.cut is not None:
            self.close_connection = True
