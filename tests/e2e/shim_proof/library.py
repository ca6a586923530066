"""What an upstream has: repositories, tags, manifests and blobs in a folder, the same bytes from the same seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

__all__ = ["MANIFEST", "Blob", "Catalog", "Library", "Repository"]

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_PIECE: Final = 1 << 20


class Repository(TypedDict):
    """`manifests` maps a digest to its media type; `private` ones take a token with their scope."""

    private: bool
    tags: dict[str, str]
    manifests: dict[str, str]
    blobs: list[str]


Catalog = dict[str, Repository]


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Content in a file. `digest` is of what the file held when it was made."""

    digest: str
    path: Path
    size: int

    def content(self) -> bytes:
        return self.path.read_bytes()


class Library:
    """Writes the folder that an upstream serves; what is added is there for the next request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog: Catalog = {}
        (folder / "blobs").mkdir(parents=True)
        self._save()

    def noise(self, size: int, seed: int) -> Blob:
        """A blob of `size` reproducible bytes."""
        path = self.folder / "blobs" / f"new-{seed}"
        digest, source = hashlib.sha256(), random.Random(seed)
        with path.open("wb") as file:
            for offset in range(0, size, _PIECE):
                piece = source.randbytes(min(_PIECE, size - offset))
                digest.update(piece)
                file.write(piece)
        return self._keep(path, digest.hexdigest(), size)

    def document(self, content: bytes) -> Blob:
        path = self.folder / "blobs" / "new"
        path.write_bytes(content)
        return self._keep(path, hashlib.sha256(content).hexdigest(), len(content))

    def image(self, repository: str, tag: str, *layers: Blob, private: bool = False, note: str = "") -> Blob:
        """An image of these layers under a tag; returns its manifest."""
        config = self.document(_json({"architecture": "amd64", "os": "linux", "rootfs": _rootfs(layers), "note": note}))
        manifest = self.document(
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": _descriptor(_CONFIG, config),
                    "layers": [_descriptor(_LAYER, layer) for layer in layers],
                }
            )
        )
        self.add(repository, manifest, *layers, config, tag=tag, private=private)
        return manifest

    def layout(self, folder: Path, repository: str, tag: str) -> list[Blob]:
        """Everything of an OCI layout under one tag; returns the layers, the largest first."""
        (top,) = json.loads((folder / "index.json").read_text())["manifests"]
        files = {f"sha256:{path.name}": path.read_bytes() for path in (folder / "blobs" / "sha256").iterdir()}
        blobs = {digest: self.document(content) for digest, content in files.items()}
        documents = {digest: json.loads(files[digest]) for digest in _reachable(files, top["digest"])}
        layers = {layer["digest"] for document in documents.values() for layer in document.get("layers", ())}
        self.add(repository, blobs[top["digest"]], *blobs.values(), tag=tag)
        types = {digest: document["mediaType"] for digest, document in documents.items()}
        self._catalog[repository]["manifests"] |= types
        self._save()
        return sorted((blobs[digest] for digest in layers), key=lambda blob: -blob.size)

    def add(self, repository: str, manifest: Blob | None, *blobs: Blob, tag: str = "", private: bool = False) -> None:
        """Let a repository have a manifest and blobs."""
        entry = self._catalog.setdefault(repository, Repository(private=private, tags={}, manifests={}, blobs=[]))
        entry["private"] = private
        entry["blobs"] += [blob.digest for blob in blobs]
        if manifest is not None:
            entry["manifests"][manifest.digest] = MANIFEST
            entry["tags"] |= {tag: manifest.digest} if tag else {}
        self._save()

    def _keep(self, path: Path, hexadecimal: str, size: int) -> Blob:
        path.replace(self.folder / "blobs" / hexadecimal)
        return Blob(digest=f"sha256:{hexadecimal}", path=self.folder / "blobs" / hexadecimal, size=size)

    def _save(self) -> None:
        new = self.folder / ".catalog.json"
        new.write_text(json.dumps(self._catalog))
        new.replace(self.folder / "catalog.json")


def _reachable(files: Mapping[str, bytes], digest: str) -> list[str]:
    """The index or manifest with this digest, and the manifests below it."""
    below = json.loads(files[digest]).get("manifests", ())
    return [digest, *(d for entry in below for d in _reachable(files, entry["digest"]))]


def _rootfs(layers: Sequence[Blob]) -> dict[str, Any]:
    return {"type": "layers", "diff_ids": [layer.digest for layer in layers]}


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
