"""Images in a registry on loopback: a model as people package it, and a server with a user."""

from __future__ import annotations

import http.client
import io
import json
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from modelcar.oci import Digest
from tests.e2e.support.commands import Modelcar
from tests.support.checkpoints import make_checkpoint

__all__ = ["Model", "publish_model", "publish_server"]

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, kw_only=True)
class Model:
    """`ref` is HOST:PORT/repository:tag, `digest` that of its index."""

    ref: str
    digest: str

    @property
    def pinned(self) -> str:
        return f"{self.ref.rpartition(':')[0]}@{self.digest}"


def publish_model(folder: Path, ref: str) -> Model:
    """A small checkpoint as an image."""
    modelcar = Modelcar(folder / "home")
    checkpoint = make_checkpoint(folder / "checkpoint", elements=20_000)
    built = modelcar("build", checkpoint, "-t", ref)
    modelcar("push", ref)
    return Model(ref=ref, digest=built["digest"])


def publish_server(registry: str, name: str, *, user: str, passwd: str) -> str:
    """An image of one layer, whose config says `USER user` and which has this /etc/passwd; returns its reference."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        member = tarfile.TarInfo("etc/passwd")
        member.size = len(passwd)
        tar.addfile(member, io.BytesIO(passwd.encode()))
    layer = content.getvalue()
    rootfs = {"type": "layers", "diff_ids": [str(Digest.of(layer))]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"User": user}, "rootfs": rootfs}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _uploaded(registry, name, config, "application/vnd.oci.image.config.v1+json"),
        "layers": [_uploaded(registry, name, layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    _send(registry, "PUT", f"/v2/{name}/manifests/v1", json.dumps(document).encode(), _MANIFEST)
    return f"{registry}/{name}:v1"


def _uploaded(registry: str, name: str, blob: bytes, kind: str) -> dict[str, object]:
    digest = str(Digest.of(blob))
    _send(registry, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", blob, "application/octet-stream")
    return {"mediaType": kind, "digest": digest, "size": len(blob)}


def _send(registry: str, method: str, path: str, body: bytes, kind: str) -> None:
    with closing(http.client.HTTPConnection(registry, timeout=30)) as connection:
        connection.request(method, path, body, {"Content-Type": kind})
        with connection.getresponse() as answer:
            assert answer.status == 201, answer.read()
