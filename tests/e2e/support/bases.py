"""Small base images, written by hand from the OCI image specification: busybox for one architecture or several."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.support.commands import program

__all__ = ["HERE", "OTHER", "write_base"]

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
HERE = _MACHINES.get(os.uname().machine, "amd64")
OTHER = "arm64" if HERE == "amd64" else "amd64"
_TOOLS = ("sh", "ln", "sleep", "ls", "mkdir", "echo", "[", "cat", "sha256sum", "kill", "test", "id", "mv", "rm")
_OCI = "application/vnd.oci.image"

Document = dict[str, Any]


def write_base(
    layout: Path,
    *architectures: str,
    compress: bool = False,
    edit: Callable[[Document], object] = lambda _: None,
    files: Mapping[str, bytes] | None = None,
    modes: Mapping[str, int] | None = None,
) -> Path:
    """Write an OCI layout with the image `latest`: an index of `architectures`, or without an index if it is but one.

    Only this machine's busybox is real. `edit` may change each config before it is written, `files` adds some,
    0755 unless `modes` says otherwise.
    """
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entries = [_image(layout, a, compress, edit, _root_file_system(a, files or {}, modes or {})) for a in architectures]
    if len(entries) > 1:
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": entries}
        entries = [_add_json(layout, index, index["mediaType"])]
    else:
        entries[0].pop("platform")
    named = {**entries[0], "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return layout


def _image(
    layout: Path,
    architecture: str,
    compress: bool,
    edit: Callable[[Document], object],
    tar: bytes,
) -> Document:
    layer = _add(layout, gzip.compress(tar, 1) if compress else tar, _layer_type(compress))
    config: Document = {
        "created": "2020-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"User": "65532:65532", "Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"base": "busybox"}},
        "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "busybox"}, {"empty_layer": True}],
    }
    edit(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _add_json(layout, config, f"{_OCI}.config.v1+json"),
        "layers": [layer],
    }
    entry = _add_json(layout, manifest, manifest["mediaType"])
    return {**entry, "platform": {"architecture": architecture, "os": "linux"}}


def _root_file_system(architecture: str, files: Mapping[str, bytes], modes: Mapping[str, int]) -> bytes:
    busybox = Path(program("busybox")).read_bytes() if architecture == HERE else f"busybox for {architecture}".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _folder(tar, "bin")
        for name, content in {"bin/busybox": busybox, **files}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), modes.get(name, 0o755)
            tar.addfile(member, io.BytesIO(content))
        for tool in _TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def _folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(member)


def _layer_type(compress: bool) -> str:
    return f"{_OCI}.layer.v1.tar+gzip" if compress else f"{_OCI}.layer.v1.tar"


def _add_json(layout: Path, document: Document, media_type: object) -> Document:
    return _add(layout, json.dumps(document, separators=(",", ":")).encode(), str(media_type))


def _add(layout: Path, content: bytes, media_type: str) -> Document:
    digest = _digest(content)
    (layout / "blobs" / digest.replace(":", "/")).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
