"""An S3 server in another process, and a door before it that makes trouble."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["SECRET", "Asked", "Door", "ObjectServer", "object_server", "open_door"]

KEY = "AKIAOFNOBODY"
SECRET = "not-to-be-seen-by-anybody"
PAGE = 3  # objects in a page of a listing
_SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectServer:
    """moto at `address`."""

    address: str

    def environment(self, address: str | None = None) -> dict[str, str]:
        """What a client needs to reach it, or a door before it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{address or self.address}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        self._put(name, b"")

    def put(self, place: str, content: bytes) -> None:
        """`place` is `bucket/key`."""
        self._put(place, content)

    def put_all(self, place: str, files: Mapping[str, bytes]) -> None:
        for path, content in files.items():
            self.put(f"{place}/{path}", content)

    def _put(self, path: str, content: bytes) -> None:
        headers = {"Authorization": _SIGNED, "Content-Type": "application/octet-stream"}
        with urlopen(Request(f"http://{self.address}/{path}", data=content, method="PUT", headers=headers)) as answer:
            answer.read()


@contextmanager
def object_server(folder: Path) -> Iterator[ObjectServer]:
    """moto with nothing in it, whose listings come in pages of `PAGE`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.output").open("wb") as output:
        environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, (folder / "moto.output").read_text()
            time.sleep(0.05)
        yield ObjectServer(address=f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came through the door."""

    path: str
    range: str | None
    sent: int


@dataclass(slots=True, kw_only=True)
class Door:
    """Hands requests on, unless `trouble` does something else with them and returns true."""

    address: str = ""
    trouble: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
    asked: list[Asked] = field(default_factory=list)

    def sent_of(self, ending: str) -> int:
        """Bytes that left of objects whose keys end like that."""
        return sum(asked.sent for asked in self.asked if asked.path.partition("?")[0].endswith(ending))


@contextmanager
def open_door(server: ObjectServer) -> Iterator[Door]:
    door = Door()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if door.trouble(self):
                return
            inside = http.client.HTTPConnection(server.address)
            try:
                inside.request(self.command, self.path, headers=dict(self.headers))
                answer = inside.getresponse()
                body = answer.read()
            finally:
                inside.close()
            door.asked.append(Asked(path=self.path, range=self.headers.get("Range"), sent=len(body)))
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hung up."""

    with Server(("127.0.0.1", 0), Handler) as outside:
        door.address = f"127.0.0.1:{outside.server_address[1]}"
        thread = threading.Thread(target=outside.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield door
        finally:
            outside.shutdown()
            thread.join()
