"""A hub on loopback that speaks as much of the Hub's HTTP interface as its own client asks for.

Model info, the paged tree, HEAD and GET of files with `ETag`, `X-Repo-Commit`, `X-Linked-Etag`, `X-Linked-Size` and
ranges, the redirect of large files to storage on another host under a signed URL, and its ways to say no. In a process
of its own: `python -m tests.support.hub FOLDER [--rate BYTES]` serves `org/name` from a folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from modelcar.throttle import Throttle

__all__ = ["COMMIT", "Failure", "FakeHub", "Repo"]

COMMIT = "c0ffee" * 6 + "c0ff"
_BLOCK = 256 << 10
_RANGE = re.compile(r"bytes=(\d+)-(\d+)?")

Content = bytes | Path


@dataclass
class Repo:
    """`gated` and `private` files are for those whose token `tokens` of the hub lists."""

    files: dict[str, Content]
    commit: str = COMMIT
    branches: tuple[str, ...] = ("main",)
    lfs: tuple[str, ...] = (".safetensors", ".gguf", ".bin", ".h5")
    gated: bool = False
    private: bool = False


@dataclass
class Failure:
    """An answer; `times` says how often it is given, for ever by default. `path` is a part of the request's."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1 << 60
    path: str = ""
    after: int = 0  # once so many bytes of what it is for were sent
    cut: int | None = None  # instead: break the connection after so many bytes of the body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Content = b""
    name: str = ""  # of the file that the body is


class FakeHub:
    """Holds `repos` by name; `failures` under a repository's name come instead of answers.

    Attributes:
        sent: bytes of file bodies by path.
        storage: whether large files are redirected to another host, as the Hub does.
    """

    def __init__(self, *, rate: float | None = None, port: int = 0) -> None:
        self.repos: dict[str, Repo] = {}
        self.failures: dict[str, Failure] = {}
        self.requests: list[str] = []
        self.user_agents: set[str] = set()
        self.tokens: set[str] = set()
        self.tokens_at_storage: set[str] = set()
        self.sent: Counter[str] = Counter()
        self.storage = True
        self.page = 1000  # entries of a tree in one answer
        self.lies: dict[str, str] = {}  # path: the sha256 that is claimed of it
        self.signed = "s1"  # what storage wants to see in a URL
        self._hashes: dict[tuple[Path, int], str] = {}
        self._throttle = Throttle(rate) if rate is not None else None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def sent_of(self, *endings: str) -> int:
        """Bytes of the bodies of all files that are called so."""
        return sum(n for path, n in self.sent.items() if path.endswith(endings))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def answer(self, target: str, token: str) -> Answer:
        """What there is to say to a request; `target` with its query."""
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts == ["counts"]:
            return _json(dict(self.sent))
        if parts[0] == "storage":
            return self._stored(parts, parse_qs(url.query), token)
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        if (failure := self._failure(name, url.path)) is not None and failure.cut is None:
            return Answer(failure.status, failure.headers)
        repo = self.repos.get(name)
        if token and self.tokens and token not in self.tokens:
            return Answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        if repo is None or (repo.private and not token):
            return Answer(404, {"X-Error-Code": "RepoNotFound"})
        verb, rest = (
            ((parts[4], parts[5:]) if api else (parts[2], parts[3:])) if len(parts) > 4 else ("revision", ["main"])
        )
        known = (*repo.branches, repo.commit)
        if "/".join(rest) not in known and rest[0] not in known:
            return Answer(404, {"X-Error-Code": "RevisionNotFound"})
        if verb == "revision":
            return _json({"_id": "0", "id": name, "sha": repo.commit, "siblings": [], "tags": [], "private": False})
        if verb == "tree":
            return self._tree(repo, url.path, parse_qs(url.query))
        if repo.gated and token not in self.tokens:
            return Answer(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        return self._resolve(name, "/".join(rest[1:]), repo)

    def _failure(self, name: str, path: str) -> Failure | None:
        with self._lock:
            failure = self.failures.get(name)
            if failure is None or failure.path not in path or failure.times <= 0:
                return None
            if sum(n for of, n in self.sent.items() if failure.path in of) < failure.after:
                return None
            failure.times -= 1
            return failure

    def _tree(self, repo: Repo, path: str, query: dict[str, list[str]]) -> Answer:
        start = int(query.get("cursor", ["0"])[0])
        entries = [self._entry(path, content, repo) for path, content in repo.files.items()]
        answer = _json(entries[start : start + self.page])
        if start + self.page < len(entries):
            after = f"{self.endpoint}{path}?recursive=true&cursor={start + self.page}"
            answer.headers["Link"] = f'<{after}>; rel="next"'
        return answer

    def _entry(self, path: str, content: Content, repo: Repo) -> dict[str, Any]:
        size = _size(content)
        if not path.endswith(repo.lfs):
            return {"type": "file", "path": path, "size": size, "oid": _git_id(_bytes(content))}
        lfs = {"oid": self._sha256(path, content), "size": size, "pointerSize": 130}
        return {"type": "file", "path": path, "size": size, "oid": _git_id(path.encode()), "lfs": lfs}

    def _resolve(self, name: str, path: str, repo: Repo) -> Answer:
        content = repo.files.get(path)
        headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if content is None:
            return Answer(404, {"X-Error-Code": "EntryNotFound", **headers})
        if not path.endswith(repo.lfs):
            return Answer(200, {"ETag": f'"{_git_id(_bytes(content))}"', **headers}, content, path)
        etag = self._sha256(path, content)
        headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(_size(content))}
        if not self.storage:
            return Answer(200, {"ETag": f'"{etag}"', **headers}, content, path)
        port = self._server.server_port
        headers["Location"] = f"http://localhost:{port}/storage/{name}/{path}?signature={self.signed}"
        return Answer(302, headers)

    def _stored(self, parts: list[str], query: dict[str, list[str]], token: str) -> Answer:
        name, path = "/".join(parts[1:3]), "/".join(parts[3:])
        if token:
            self.tokens_at_storage.add(token)
        if query.get("signature") != [self.signed]:
            return Answer(403, {})
        if (failure := self._failure(name, f"/storage/{path}")) is not None and failure.cut is None:
            return Answer(failure.status, failure.headers)
        content = self.repos[name].files[path]
        return Answer(200, {"ETag": '"of-storage"', "Accept-Ranges": "bytes"}, content, path)

    def _sha256(self, path: str, content: Content) -> str:
        if path in self.lies:
            return self.lies[path]
        if isinstance(content, bytes):
            return hashlib.sha256(content).hexdigest()
        key = (content, content.stat().st_mtime_ns)
        if key not in self._hashes:
            with content.open("rb") as f:
                self._hashes[key] = hashlib.file_digest(f, "sha256").hexdigest()
        return self._hashes[key]

    def cut(self, path: str) -> int | None:
        """After how many bytes of a file's body to hang up, if at all."""
        for name, failure in self.failures.items():
            if failure.cut is not None and failure.path in path and self._failure(name, path) is not None:
                return failure.cut
        return None

    def pace(self, n: int) -> None:
        if self._throttle is not None:
            time.sleep(self._throttle.take(n))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """On clients that keep their connections for a next request: each has a thread that waits for it."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.user_agents.add(self.headers.get("User-Agent", ""))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        answer = self.hub.answer(self.path, token)
        start, stop = self._bounds(answer)
        self.send_response(answer.status)
        headers = {"Content-Length": str(stop - start), **answer.headers}
        if answer.status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{_size(answer.body)}"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send(answer, start, stop)

    do_HEAD = do_GET  # noqa: N815  # http.server's name

    def _bounds(self, answer: Answer) -> tuple[int, int]:
        size = _size(answer.body)
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or answer.status != 200 or not answer.name:
            return 0, size
        answer.status = 206
        return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size

    def _send(self, answer: Answer, start: int, stop: int) -> None:
        cut = self.hub.cut(self.path) if answer.name else None
        for block in _blocks(answer.body, start, stop if cut is None else min(stop, start + cut)):
            self.hub.pace(len(block))
            self.wfile.write(block)
            if answer.name:
                self.hub.sent[answer.name] += len(block)
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        pass


def _blocks(content: Content, start: int, stop: int) -> Iterator[bytes]:
    if isinstance(content, bytes):
        for at in range(start, stop, _BLOCK):
            yield content[at : min(at + _BLOCK, stop)]
        return
    with content.open("rb", buffering=0) as f:
        f.seek(start)
        while start < stop and (block := f.read(min(_BLOCK, stop - start))):
            start += len(block)
            yield block


def _json(document: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def main() -> None:
    """Print the endpoint and serve; `/counts` tells bytes of bodies by path."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float)
    options = parser.parse_args()
    with FakeHub(rate=options.rate, port=options.port) as hub:
        paths = sorted(path for path in options.folder.rglob("*") if path.is_file())
        hub.repos["org/name"] = Repo({path.relative_to(options.folder).as_posix(): path for path in paths})
        print(hub.endpoint, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
