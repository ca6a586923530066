"""A Hugging Face hub with one model, enough for `oci-modelcar push`: its metadata and its files.

python -m tests.bench.programs.hub FOLDER PORT
"""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0" * 40


class Handler(SimpleHTTPRequestHandler):
    """Answers `/api/models/…` from the folder; oci-modelcar finds the files themselves in its spool folder."""

    def do_GET(self) -> None:
        if not self.path.startswith("/api/models/"):
            self._send({"healthy": True})
        elif "/tree/" in self.path:
            self._send([self._entry(path) for path in sorted(Path(self.directory).iterdir())])
        else:
            self._send({"id": "bench/model", "modelId": "bench/model", "sha": COMMIT, "siblings": []})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
        """Says nothing."""

    def _entry(self, path: Path) -> dict[str, Any]:
        name = hashlib.sha1(path.name.encode()).hexdigest()  # noqa: S324  # any forty digits do
        return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": name}

    def _send(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        self.wfile.write(body)


def main(folder: str, port: str) -> None:
    def handler(*args: Any) -> Handler:
        return Handler(*args, directory=folder)

    ThreadingHTTPServer(("127.0.0.1", int(port)), handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
