"""The second door of the program: what a test says and asks, in JSON, on an address of its own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from modelcar.testing.registry.faults import Fault, Faults
from modelcar.testing.registry.server import Site

__all__ = ["control"]


def control(listener: socket.socket, site: Site) -> None:
    """Answer on a listening socket, until the process ends."""
    server = _Server(listener, site)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, site: Site) -> None:
        self.site = site
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_args: Any) -> None:
        """Nobody is to read of it."""

    def do_GET(self) -> None:
        site = self.server.site
        if self.path.startswith("/blobs/"):
            file = site.api.contents.blob(unquote(self.path.removeprefix("/blobs/")))
            self._answer(200 if file else 404, file.read_bytes() if file else b"")
            return
        shown: dict[str, Callable[[], Any]] = {
            "/counts": site.counters.counts,
            "/moved": lambda: site.counters.moved,
            "/journal": site.counters.journal,
            "/blobs": site.api.contents.digests,
        }
        self._answer(200, json.dumps(shown[self.path]()).encode())

    def do_PUT(self) -> None:
        """`/blobs/REPOSITORY`: a blob that is there without having moved."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        digest = self.server.site.api.contents.put(content, unquote(self.path.removeprefix("/blobs/")))
        self._answer(200, json.dumps(digest).encode())

    def do_POST(self) -> None:
        site = self.server.site
        document = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        match self.path:
            case "/faults":
                site.plan.give(Fault.from_dict(fault) for fault in document)
            case "/random":
                site.plan.scatter(Faults.from_dict(document))
            case "/behave":
                site.plan.clear()
            case "/reset":
                site.counters.reset()
            case "/forget-sessions":
                site.api.sessions.forget()
            case "/revoke-tokens":
                site.api.doorkeeper.revoke()
        self._answer(200, b"null")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
