"""A hub on loopback with as much of the Hub's HTTP interface as downloading a snapshot takes."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Repo:
    files: dict[str, bytes]
    commit: str = COMMIT
    branches: tuple[str, ...] = ("main",)
    lfs: tuple[str, ...] = (".safetensors", ".gguf")


@dataclass
class Failure:
    status: int
    headers: dict[str, str] = field(default_factory=dict)


class FakeHub:
    """Holds `repos` by name; whatever is in `failures` under a repository's name is answered instead."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.failures: dict[str, Failure] = {}
        self.requests: list[str] = []
        self.user_agents: set[str] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                hub.user_agents.add(self.headers.get("User-Agent", ""))
                status, headers, body = hub.answer(urlsplit(self.path).path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 -- http.server's name

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- http.server's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        if name in self.failures:
            return self.failures[name].status, self.failures[name].headers, b""
        repo = self.repos.get(name)
        if repo is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        verb, rest = (parts[4], parts[5:]) if api else (parts[2], parts[3:])
        if "/".join(rest) not in (*repo.branches, repo.commit) and rest[0] not in (*repo.branches, repo.commit):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if verb == "revision":
            return _json({"_id": "0", "id": name, "sha": repo.commit, "siblings": [], "tags": [], "private": False})
        if verb == "tree":
            return _json([_entry(path, content, repo) for path, content in repo.files.items()])
        return _resolve("/".join(rest[1:]), repo)


def _json(document: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _entry(path: str, content: bytes, repo: Repo) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _git_id(content)}
    if path.endswith(repo.lfs):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return entry


def _resolve(path: str, repo: Repo) -> tuple[int, dict[str, str], bytes]:
    content = repo.files.get(path)
    if content is None:
        return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}, b""
    etag = hashlib.sha256(content).hexdigest() if path.endswith(repo.lfs) else _git_id(content)
    return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": repo.commit}, content


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
