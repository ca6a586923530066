"""A registry for pulls of models that do not exist: `python -m tests.support.made_up_registry HOST READY MIB…`.

Repositories are called by the size of the model in MiB: `HOST:PORT/made-up/200:v1`. Nothing is stored, nobody logs in.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Final

from modelcar.errors import InvalidDigest
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.oci import Digest
from tests.support.made_up import MadeUpModel, made_up_model

__all__ = ["MadeUpRegistry", "Sent", "made_up_registry", "reference", "serve"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_MIB: Final = 1 << 20
_ROUTE: Final = re.compile(r"/v2/made-up/(\d+)/(manifests|blobs)/(.+)")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE: Final = 256 << 10
_SENT: Final = "/sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a registry sent until now."""

    requests: int
    blob_bytes: int


def reference(address: str, mib: int) -> str:
    return f"{address}/made-up/{mib}:v1"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], models: dict[str, MadeUpModel]) -> None:
        self.models = models
        self.requests = self.blob_bytes = 0
        self._lock = Lock()
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up between two requests is not worth a line."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # the standard library's types are wider

    def count(self, *, requests: int = 0, blob_bytes: int = 0) -> None:
        with self._lock:
            self.requests += requests
            self.blob_bytes += blob_bytes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path in ("/v2", "/v2/"):
            self._answer(200, ByteMap([]), {})
            return
        if self.path == _SENT:
            sent = {"requests": self.server.requests, "blob_bytes": self.server.blob_bytes}
            self._answer(200, ByteMap([Literal(json.dumps(sent).encode())]), {})
            return
        self.server.count(requests=1)
        match = _ROUTE.fullmatch(self.path.partition("?")[0])
        model = self.server.models.get(match[1]) if match else None
        found = _manifest(model, match[3]) if match and model and match[2] == "manifests" else None
        if match and model and match[2] == "blobs":
            found = _blob(model, match[3])
        if found is None:
            self._answer(404, ByteMap([]), {})
        else:
            self._answer(200, *found)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parent's name
        """Quiet."""

    def _answer(self, status: int, content: ByteMap, headers: dict[str, str]) -> None:
        start, stop = 0, content.size
        if status == 200 and (wanted := _RANGE.fullmatch(self.headers.get("Range", ""))):
            start, stop = int(wanted[1]), min(int(wanted[2] or stop - 1) + 1, stop)
            if start >= stop:
                status, start, stop = 416, 0, 0
            else:
                status = 206
                headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{content.size}"}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(stop - start), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            with suppress(OSError):  # whoever asked went away
                self._send(content, start, stop)

    def _send(self, content: ByteMap, start: int, stop: int) -> None:
        buffer = memoryview(bytearray(min(_PIECE, stop - start)))
        with content.open(start, stop - start) as reader:
            while n := reader.readinto(buffer):
                self.wfile.write(buffer[:n])
                self.server.count(blob_bytes=n if "/blobs/" in self.path else 0)


def _manifest(model: MadeUpModel, name: str) -> tuple[ByteMap, dict[str, str]] | None:
    for document in (model.index, *model.manifests):
        if name == str(document.digest) or (name == "v1" and document is model.index):
            headers = {"Content-Type": document.media_type, "Docker-Content-Digest": str(document.digest)}
            return model.blobs[document.digest], headers
    return None


def _blob(model: MadeUpModel, name: str) -> tuple[ByteMap, dict[str, str]] | None:
    try:
        digest = Digest.parse(name)
        return model.blobs[digest], {"Content-Type": "application/octet-stream", "Docker-Content-Digest": name}
    except (InvalidDigest, KeyError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpRegistry:
    """One that runs. `address` is HOST:PORT."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def sent(self) -> Sent:
        """Asked of it over the network: not for who is on another one."""
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", _SENT)
            return Sent(**json.loads(connection.getresponse().read()))
        finally:
            connection.close()


@contextmanager
def made_up_registry(
    sizes: Sequence[int], *, whole: Sequence[int] = (), host: str = "127.0.0.1", enter: Sequence[str] = ()
) -> Iterator[MadeUpRegistry]:
    """Runs as long as the block, in a process of its own; `enter` goes before its command. Sizes in MiB.

    Of models of the sizes `whole` all of a layer may arrive: their digests are right, for which they are hashed first.
    """
    read_end, ready = os.pipe()
    command = [*enter, sys.executable, "-m", "tests.support.made_up_registry", host, str(ready)]
    models = [f"{size}:whole" if size in whole else str(size) for size in sizes]
    process = subprocess.Popen([*command, *models], cwd=_ROOT, stdin=subprocess.DEVNULL, pass_fds=[ready])
    os.close(ready)
    try:
        with os.fdopen(read_end) as said:
            address = said.readline().strip()
        if not address:
            raise OSError(f"the made-up registry does not start: status {process.wait()}")
        yield MadeUpRegistry(address=address, process=process)
    finally:
        process.kill()
        process.wait()


def serve(host: str, ready: int, wanted: Sequence[str]) -> None:
    """`wanted`: sizes in MiB, such as `200` or `200:whole`."""
    sizes = [(size, how == "whole") for size, _, how in (text.partition(":") for text in wanted)]
    models = {size: made_up_model(int(size) * _MIB, whole=whole) for size, whole in sizes}
    with _Server((host, 0), models) as server:
        os.write(ready, f"{host}:{server.server_port}\n".encode())
        os.close(ready)
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
