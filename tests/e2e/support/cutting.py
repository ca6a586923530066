"""A proxy before a registry, whose clients' uploads break off when a test wants it; and it counts."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

__all__ = ["CuttingProxy", "cutting_proxy"]

_BLOCK: Final = 64 << 10
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class _HangUp(Exception):
    """The client is gone, or is to think that the line is."""


class CuttingProxy:
    """Listens at `address`. Of uploads, `received` bytes came in, `lost` of them in requests that it broke off;
    `sessions` have been opened.

    Args:
        target: HOST:PORT of the registry.
        buffers: a request goes on once all of it is there, as nginx does it unless told otherwise; else as it comes.
    """

    def __init__(self, address: str, target: str, *, buffers: bool) -> None:
        self.address, self.target, self.buffers = address, target, buffers
        self.received = self.lost = self.sessions = 0
        self._lock = threading.Lock()
        self._cuts: list[int] = []
        self._after = 0

    def cut(self, *moments: int, after: int) -> None:
        """Break off one request for each of `moments`: once so many bytes have come in, the next one of at least twice
        `after` bytes, when it has had `after`."""
        with self._lock:
            self._cuts, self._after = sorted(moments), after

    def begins(self, method: str, path: str, size: int) -> int | None:
        """A request comes, with `size` bytes. Returns after how many of them it breaks off."""
        with self._lock:
            self.sessions += method == "POST" and path.endswith("/blobs/uploads/")
            if method not in ("PATCH", "PUT") or size < 2 * self._after or not self._cuts:
                return None
            if self.received < self._cuts[0]:
                return None
            self._cuts.pop(0)
            return self._after

    def came(self, size: int) -> None:
        with self._lock:
            self.received += size

    def broke(self, size: int) -> None:
        with self._lock:
            self.lost += size


@contextmanager
def cutting_proxy(target: str, *, buffers: bool) -> Iterator[CuttingProxy]:
    """A proxy before the registry at `target` (HOST:PORT)."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.proxy = CuttingProxy(f"127.0.0.1:{server.server_address[1]}", target, buffers=buffers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: CuttingProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        proxy = self.server.proxy
        size = int(self.headers.get("Content-Length", 0))
        blocks = self._body(proxy, size, proxy.begins(self.command, self.path.partition("?")[0], size))
        upstream = http.client.HTTPConnection(proxy.target, timeout=60)
        try:
            body = list(blocks) if proxy.buffers else blocks
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            for block in body:
                upstream.send(block)
            self._answer(upstream.getresponse())
        except (_HangUp, OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # the standard library's names

    def _body(self, proxy: CuttingProxy, size: int, cut: int | None) -> Iterator[bytes]:
        upload, came = "/blobs/uploads/" in self.path, 0
        end = size if cut is None else cut
        while came < end:
            block = self.rfile.read1(min(_BLOCK, end - came))
            came += len(block)
            if upload:
                proxy.came(len(block))
            if not block:
                raise _HangUp
            yield block
        if cut is not None:
            proxy.broke(came)
            raise _HangUp

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass
