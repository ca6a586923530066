"""A node's folder with images of upstreams in it, and a cache that removes what it is told to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelcar.disk import Disk
from modelcar.oci import Descriptor, Digest, Platform
from modelcar.oci.media_types import CONFIG, INDEX, MANIFEST
from registry_shim.distribution.repositories import ManifestLink, Repositories
from registry_shim.space.settings import SpaceSettings
from registry_shim.space.space import Space

LAYER = "application/vnd.oci.image.layer.v1.tar"
BLOCK = 4096  # bytes; what a small file takes here
NOW = 1_700_000_000.0
HUGE = 1 << 50


def upstream_places(root: Path) -> dict[str, Repositories]:
    folders = (root / "upstreams").glob("*/repositories")
    return {folder.parent.name: Repositories(folder) for folder in folders}


@dataclass
class Folder:
    """Blobs as plain files; `leased` are in use."""

    root: Path
    leases: set[Digest] = field(default_factory=set)
    removed: list[Digest] = field(default_factory=list)

    def leased(self) -> set[Digest]:
        return self.leases

    def evict(self, digest: Digest) -> bool:
        if digest in self.leases:
            return False
        for path in [blob_path(self.root, digest), *(self.root / "partial" / "sha256" / digest.hex).glob("*/data")]:
            if path.exists():
                os.unlink(path)  # noqa: PTH108  # the crash test counts calls of os
        self.removed.append(digest)
        return True


@dataclass
class Counted:
    evictions: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)

    def evicted(self, size: int) -> None:
        self.evictions.append(size)

    def refused(self, size: int) -> None:
        self.refusals.append(size)


@dataclass
class Node:
    """`root` as a shim leaves it. Times are seconds; `age` is how long before NOW something was last used."""

    root: Path
    now: float = NOW
    free: int = HUGE
    content: Folder = field(init=False)
    counted: Counted = field(default_factory=Counted)

    def __post_init__(self) -> None:
        self.content = Folder(self.root)
        (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)

    def space(self, **settings: Any) -> Space:
        values = {"min_free": 0, "high_percent": 100.0, "low_percent": 100.0, "budget_slack": 0.0, **settings}
        return Space(
            self.root,
            SpaceSettings(**values),
            lambda: upstream_places(self.root),
            observer=self.counted,
            clock=lambda: self.now,
            disk=lambda _: Disk(total=HUGE, free=self.free),
        )

    def blob(self, content: bytes, *, age: float = 1000.0) -> Descriptor:
        descriptor = Descriptor.of(LAYER, content)
        path = blob_path(self.root, descriptor.digest)
        path.write_bytes(content)
        os.utime(path, (self.now - age, self.now - age))
        return descriptor

    def layer(self, seed: int, *, blocks: int = 1, age: float = 1000.0) -> Descriptor:
        return self.blob(bytes([seed]) * (blocks * BLOCK), age=age)

    def partial(self, content: bytes, *, age: float = 1000.0) -> Descriptor:
        descriptor = Descriptor.of(LAYER, content)
        folder = self.root / "partial" / "sha256" / descriptor.digest.hex / "plain"
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(content)
        os.utime(folder / "data", (self.now - age, self.now - age))
        return descriptor

    def image(
        self, name: str, *layers: Descriptor, age: float = 1000.0, config: bytes = b"{}", **fields: Any
    ) -> Descriptor:
        """An image manifest, known under `registry/repository:tag` (no tag: only by its digest)."""
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config(config, age=age).to_dict(),
            "layers": [layer.to_dict() for layer in layers],
            **fields,
        }
        return self.document(name, MANIFEST, document, age=age)

    def config(self, content: bytes, *, age: float) -> Descriptor:
        descriptor = self.blob(content, age=age)
        return Descriptor(media_type=CONFIG, digest=descriptor.digest, size=descriptor.size)

    def index(
        self, name: str, manifests: Mapping[str, Descriptor], *, age: float = 1000.0, **fields: Any
    ) -> Descriptor:
        """By platform."""
        entries = [m.to_dict() | {"platform": Platform.parse(p).to_dict()} for p, m in manifests.items()]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **fields}
        return self.document(name, INDEX, document, age=age)

    def document(self, name: str, media_type: str, document: dict[str, Any], *, age: float) -> Descriptor:
        content = json.dumps(document).encode()
        stored = self.blob(content, age=age)
        descriptor = Descriptor(media_type=media_type, digest=stored.digest, size=len(content))
        subject = document.get("subject")
        repository, tag = self.repository(name)
        repository.add_manifest(ManifestLink(descriptor, Digest.parse(subject["digest"]) if subject else None))
        for entry in document.get("layers", ()):
            repository.link_blob(Digest.parse(entry["digest"]))
        if tag:
            repository.set_tag(tag, descriptor.digest)
        return descriptor

    def repository(self, name: str) -> tuple[Any, str]:
        registry, _, rest = name.partition("/")
        path, _, tag = rest.partition(":")
        return Repositories(self.root / "upstreams" / registry / "repositories")[path], tag

    def has(self, *descriptors: Descriptor) -> bool:
        return all(blob_path(self.root, d.digest).exists() for d in descriptors)


def blob_path(root: Path, digest: Digest) -> Path:
    return root / "blobs" / digest.algorithm / digest.hex
