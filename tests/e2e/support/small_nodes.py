"""Shims in processes of their own, with little room, and an upstream with images to fill it."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.support.commands import BIN, Done, run, serving
from tests.support.waiting import eventually

__all__ = ["HOST", "MANIFEST", "MIB", "NoRoom", "Running", "Upstream", "call", "digest_of", "node"]

HOST = "registry.example"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MIB = 1 << 20


class NoRoom(Exception):
    """The shim cannot keep it at the moment."""


def call(
    address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request(method, path, body, headers or {})
        with connection.getresponse() as response:
            return response.status, response.read()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Running:
    """A shim in a process of its own."""

    folder: Path
    options: tuple[str | Path, ...]
    process: subprocess.Popen[bytes] = field(init=False)
    address: str = ""

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @contextmanager
    def on(self) -> Iterator[Running]:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command = (BIN / "registry-shim", "serve", "--root", self.root, "--listen", "127.0.0.1:0", *self.options)
        with serving(self.folder / "log", *command, "--ready-file", ready) as self.process:
            eventually(lambda: ready.exists() or self.process.poll() is not None, "it starts", within=30)
            assert self.process.poll() is None, (self.folder / "log").read_text()
            self.address = ready.read_text().strip()
            yield self

    def ask(self, verb: str, *arguments: str, status: int = 0) -> Done:
        done = run(BIN / "registry-shim", verb, *arguments, "--root", self.root, check=False)
        assert done.returncode == status, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done

    def state(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("status", "--json").stdout)
        return answer

    def pull(self, name: str, tag: str = "v1") -> list[bytes]:
        """All of an image, every digest checked."""
        status, content = call(self.address, "GET", f"/v2/{HOST}/{name}/manifests/{tag}")
        assert status == 200, content
        manifest = json.loads(content)
        blobs = []
        for descriptor in (manifest["config"], *manifest["layers"]):
            status, blob = call(self.address, "GET", f"/v2/{HOST}/{name}/blobs/{descriptor['digest']}")
            if status >= 500 and b"No space left" in blob:
                raise NoRoom
            assert status == 200, blob[:1000]
            assert digest_of(blob) == descriptor["digest"]
            blobs.append(blob)
        return blobs


@dataclass
class Upstream(Running):
    def push(self, name: str, *sizes: int, seed: int) -> str:
        """An image of random layers (bytes); returns its digest."""
        layers = [random.Random(seed * 100 + n).randbytes(size) for n, size in enumerate(sizes)]
        descriptors = []
        for blob in (b"{}", *layers):
            status, answer = call(self.address, "POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(blob)}", blob)
            assert status == 201, answer
            descriptors.append({"mediaType": "application/octet-stream", "digest": digest_of(blob), "size": len(blob)})
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
        manifest = json.dumps(document).encode()
        status, answer = call(self.address, "PUT", f"/v2/{name}/manifests/v1", manifest, {"Content-Type": MANIFEST})
        assert status == 201, answer
        return digest_of(manifest)


def node(folder: Path, upstream: Upstream, **space: str | int) -> Running:
    folder.mkdir(exist_ok=True, parents=True)
    lines = "".join(f"  {name}: {value}\n" for name, value in {"interval": "1s", "min_free": 0, **space}.items())
    (folder / "config.yaml").write_text(f"space:\n{lines}precache:\n  retry: 1s\n  interval: 1s\n")
    return Running(folder, ("--config", folder / "config.yaml", "--upstream", f"{HOST}=http://{upstream.address}"))
