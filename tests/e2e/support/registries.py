"""A registry for a test each: ours and Debian's, on free loopback ports, in folders of their own."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bcrypt

from tests.e2e.support.commands import BIN, serving
from tests.support.authority import Issued
from tests.support.waiting import eventually

__all__ = ["docker_registry", "embedded_registry", "get", "manifest_bytes"]

_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


@contextmanager
def embedded_registry(folder: Path) -> Iterator[str]:
    """`registry-shim serve --writable`; yields HOST:PORT."""
    folder.mkdir()
    ready = folder / "ready"
    command: list[str | Path] = [
        BIN / "registry-shim",
        "serve",
        "--root",
        folder / "root",
        "--writable",
        "--listen",
        "127.0.0.1:0",
    ]
    with serving(folder / "log", *command, "--ready-file", ready) as process:
        eventually(lambda: ready.exists() or process.poll() is not None, "the embedded registry starts", within=60)
        assert process.poll() is None, (folder / "log").read_text()
        yield ready.read_text().strip()


@contextmanager
def docker_registry(
    folder: Path, *, users: Mapping[str, str] | None = None, tls: Issued | None = None
) -> Iterator[str]:
    """Debian's docker-registry; yields HOST:PORT. With `users` (names to passwords) it is for nobody else, with `tls`
    behind this certificate."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    http_config: dict[str, object] = {"addr": address}
    if tls is not None:
        http_config["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "root")},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": http_config,
    }
    if users is not None:
        lines = [f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}" for name, word in users.items()]
        (folder / "htpasswd").write_text("\n".join(lines))
        config["auth"] = {"htpasswd": {"realm": "private", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(config))  # which is YAML, too
    with serving(folder / "log", "docker-registry", "serve", folder / "config.yml") as process:
        eventually(lambda: _answers(address) or process.poll() is not None, "docker-registry starts")
        assert process.poll() is None, (folder / "log").read_text()
        yield address


def get(address: str, path: str) -> bytes:
    """The body of a plain GET below /v2/."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", f"/v2/{path}", headers={"Accept": _ACCEPT})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, (path, answer.status, body)
    return body


def manifest_bytes(ref: str) -> bytes:
    """What a registry has under HOST:PORT/repo:tag or HOST:PORT/repo@digest, as it is."""
    address, _, rest = ref.partition("/")
    repository, _, tag = rest.partition("@") if "@" in rest else rest.rpartition(":")
    return get(address, f"{repository}/manifests/{tag}")


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/v2/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True
