"""The least that passes for a shim, with bugs to plant: a harness that finds none of them proves nothing.

python -m tests.e2e.shim_proof.double [--bug NAME] serve --root DIR --listen HOST:PORT --upstream NAME=URL …
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import re
import shutil
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["BUGS", "command"]

BUGS: Final = (
    "fetches-for-everyone",
    "ignores-ranges",
    "believes-the-upstream",
    "serves-rot",
    "forgets",
    "leaks-secrets",
    "serves-everyone",
    "fetches-anything",
    "opens-any-file",
)
_ROUTE: Final = re.compile(r"/v2/registry\.example/(?P<rest>(?P<name>.+)/(?P<kind>blobs|manifests)/(?P<what>.+))")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def command(bug: str = "") -> tuple[str, ...]:
    """What starts it in the place of `registry-shim`."""
    return (sys.executable, "-m", "tests.e2e.shim_proof.double", f"--bug={bug}")


class Refused(Exception):
    """An answer without content."""

    def __init__(self, status: int, challenge: str = "") -> None:
        super().__init__(status)
        self.status, self.challenge = status, challenge


class Double:
    """Whole blobs, one at a time, kept by digest."""

    def __init__(self, root: Path, upstream: str, bug: str) -> None:
        self.root, self.upstream, self.bug = root, upstream, bug
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        if bug == "forgets":
            shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True, exist_ok=True)

    def content(self, target: str, authorization: str) -> bytes:
        route = _ROUTE.fullmatch(unquote(urlsplit(target).path))
        if self.bug == "fetches-anything" and "ns=" in target:
            return self._fetch("/" + target.split("/", 2)[2], authorization, target.partition("ns=")[2])
        if route is None:
            raise Refused(404)
        if self.bug == "leaks-secrets" and authorization:
            print(f"GET {target} {authorization}", flush=True)
        path = f"/v2/{route['rest']}"
        if route["kind"] == "manifests":
            return self._fetch(path, authorization)
        what = route["what"]
        if not _DIGEST.fullmatch(what):
            if self.bug == "opens-any-file":
                return (self.root / what).read_bytes()
            raise Refused(400)
        if self.bug != "serves-everyone":
            self._fetch(path, authorization, method="HEAD")
        with self._locks[what]:
            return self._kept(what, path, authorization)

    def _kept(self, digest: str, path: str, authorization: str) -> bytes:
        file = self.root / digest
        if not file.exists() or self.bug == "fetches-for-everyone":
            content = self._fetch(path, authorization)
            if self.bug != "believes-the-upstream" and _digest(content) != digest:
                raise Refused(502)
            new = self.root / "new"
            new.write_bytes(content)
            new.replace(file)
        content = file.read_bytes()
        if self.bug != "serves-rot" and self.bug != "believes-the-upstream" and _digest(content) != digest:
            file.unlink()
            raise Refused(503)
        return content

    def _fetch(self, path: str, authorization: str, host: str = "", method: str = "GET") -> bytes:
        connection = http.client.HTTPConnection(host or self.upstream, timeout=10)
        try:
            connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise Refused(answer.status, answer.getheader("WWW-Authenticate") or "")
        return content


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: Double

    def do_GET(self) -> None:
        try:
            content = self.double.content(self.path, self.headers.get("Authorization", ""))
        except Refused as e:
            self._answer(e.status, {"WWW-Authenticate": e.challenge} if e.challenge else {}, b"")
            return
        except (OSError, http.client.HTTPException):
            self._answer(502, {}, b"")
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None or self.double.bug == "ignores-ranges":
            self._answer(200, {}, content)
            return
        first, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
        self._answer(206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1])

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bug", choices=["", *BUGS])
    parser.add_argument("verb")
    for option in ("--root", "--listen", "--upstream", "--ready-file"):
        parser.add_argument(option)
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    Handler.double = Double(Path(given.root), urlsplit(given.upstream.partition("=")[2]).netloc, given.bug)
    ThreadingHTTPServer.request_queue_size = 256
    server = ThreadingHTTPServer((host, int(port)), Handler)
    Path(given.ready_file).write_text(given.listen)
    server.serve_forever()


if __name__ == "__main__":
    main()
