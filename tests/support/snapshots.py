"""What containerd says to a snapshotter, and a mounter that only remembers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from modelcar.errors import ModelcarError
from modelcar.oci import Digest
from modelcar.packaging.annotations import SNAPSHOT_INDEX, SNAPSHOT_LAYER
from registry_shim.snapshotter.hints import REF
from registry_shim.snapshotter.images import Images
from registry_shim.snapshotter.layers import Layers
from registry_shim.snapshotter.messages import Committing, Preparing
from registry_shim.snapshotter.records import ModelImage, Records
from registry_shim.snapshotter.snapshotter import Snapshotter

__all__ = ["RememberingMounter", "Workbench", "chain_id", "labels", "lazy_labels"]

IMAGE = "registry.example/acme/model:v1"


def chain_id(name: str) -> str:
    """The chain id of a layer of a test."""
    return str(Digest.of(f"chain {name}".encode()))


def labels(name: str) -> dict[str, str]:
    """Of a snapshot that the layer `name` is unpacked into."""
    return {REF: chain_id(name)}


def lazy_labels(name: str, *, manifest: str = "manifest") -> dict[str, str]:
    """Of one that need not be unpacked, as CRI has them."""
    prefix = "containerd.io/snapshot/cri."
    return {
        **labels(name),
        SNAPSHOT_LAYER: "weights",
        SNAPSHOT_INDEX: str(Digest.of(b"index")),
        f"{prefix}image-ref": IMAGE,
        f"{prefix}manifest-digest": str(Digest.of(manifest.encode())),
        f"{prefix}layer-digest": str(Digest.of(name.encode())),
        f"{prefix}image-layers": str(Digest.of(name.encode())),
    }


class RememberingMounter:
    """Mounts nothing. `refusal` is raised by `check`, `failure` by `mount`; mounts wait until `open`."""

    def __init__(self) -> None:
        self.refusal: ModelcarError | None = None
        self.failure: ModelcarError | None = None
        self.checked: list[tuple[ModelImage, Digest]] = []
        self.asked: list[Path] = []
        self.recovered: list[Path] = []
        self.mounted: dict[Path, ModelImage] = {}
        self.open = threading.Event()
        self.open.set()

    def check(self, image: ModelImage, layer: Digest) -> None:
        self.checked.append((image, layer))
        if self.refusal is not None:
            raise self.refusal

    def mount(self, image: ModelImage, target: Path) -> None:
        self.asked.append(target)
        assert self.open.wait(30)
        if self.failure is not None:
            raise self.failure
        self.mounted[target] = image

    def recover(self, target: Path) -> None:
        self.recovered.append(target)
        if self.failure is not None:
            raise self.failure

    def unmount(self, target: Path) -> None:
        if self.failure is not None:
            raise self.failure
        self.mounted.pop(target, None)


class Workbench:
    """A snapshotter over `root`, and containerd's side of it: keys with a namespace and a number that nobody had."""

    def __init__(self, root: Path, mounter: RememberingMounter, *, ready_seconds: float = 20.0) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.records = Records(root / "snapshots.db")
        self.images = Images(mounter)
        layers = Layers(root, ("index=off",))
        self.snapshotter = Snapshotter(self.records, layers, self.images, ready_seconds=ready_seconds)
        self._keys = 1000 + len(list(root.glob("*")))

    def close(self) -> None:
        self.images.close()
        self.records.close()

    def key(self, name: str) -> str:
        """As containerd's metadata makes one of `name`."""
        self._keys += 1
        return f"k8s.io/{self._keys}/{name}"

    def unpack(self, name: str, parent: str = "", *, files: Mapping[str, bytes] | None = None) -> str:
        """An eager layer; returns the name of its snapshot."""
        key, done = self.key(f"extract-1 {chain_id(name)}"), self.key(chain_id(name))
        (mount,) = self.snapshotter.prepare(Preparing(key=key, parent=parent, labels=labels(name)))
        upper = next((o[9:] for o in mount.options if o.startswith("upperdir=")), mount.source)
        for path, content in (files or {"file": name.encode()}).items():
            (Path(upper) / path).write_bytes(content)
        self.snapshotter.commit(Committing(name=done, key=key, labels=labels(name)))
        return done

    def lazily(self, name: str, parent: str = "", *, manifest: str = "manifest") -> Preparing:
        """What containerd asks for a lazy layer."""
        key = self.key(f"extract-1 {chain_id(name)}")
        return Preparing(key=key, parent=parent, labels=lazy_labels(name, manifest=manifest))

    def found(self, name: str, parent: str = "") -> str:
        """What containerd finds when it is told that the snapshot exists already."""
        wanted = f'labels."{REF}"=={chain_id(name)},parent=="{parent}"'
        (found,) = self.snapshotter.list([wanted])
        return found.name
