"""What containerd's calls do. Every step leaves records and folders so that a process killed after it can go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from modelcar.errors import AlreadyExists, Refused
from registry_shim.snapshotter.filters import matching
from registry_shim.snapshotter.hints import REF, lazy_layer
from registry_shim.snapshotter.images import Images
from registry_shim.snapshotter.layers import Layers
from registry_shim.snapshotter.messages import Committing, Mount, Preparing, Updating
from registry_shim.snapshotter.records import Kind, LazyLayer, ModelImage, Records, Snapshot, Usage

__all__ = ["Snapshotter"]

_READY_SECONDS: Final = 10.0  # containerd lets nobody else prepare anything while its garbage collection waits for us


class Snapshotter:
    """Safe to use from several threads."""

    def __init__(
        self, records: Records, layers: Layers, images: Images, *, ready_seconds: float = _READY_SECONDS
    ) -> None:
        """`ready_seconds` is how long a container's start waits for its model to be mounted."""
        self._records = records
        self._layers = layers
        self._images = images
        self._ready_seconds = ready_seconds

    def prepare(self, request: Preparing) -> tuple[Mount, ...]:
        """A writable snapshot: a layer is unpacked into it, or a container runs in it.

        Raises:
            AlreadyExists: the name is in use; or it is to hold a layer that is mounted and need not be unpacked.
            NotFound: the parent does not exist.
            Refused: the parent is not committed.
            WorldError: the model of a container cannot be mounted now.
            StorageError: the disk does not want to.
        """
        layer = lazy_layer(request.labels)
        if layer is not None and self._prepare_lazily(request, layer):
            raise AlreadyExists(f"the layer {request.labels[REF]} is mounted, and not unpacked")
        return self._create(request, Kind.ACTIVE)

    def view(self, request: Preparing) -> tuple[Mount, ...]:
        """A snapshot to look at. Raises as `prepare`."""
        return self._create(request, Kind.VIEW)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """How an active snapshot or a view is mounted.

        Raises:
            NotFound: there is no such snapshot.
            Refused: it is committed.
            WorldError: the model of a container cannot be mounted now.
        """
        snapshot, *parents = self._records.chain(key)
        if snapshot.kind is Kind.COMMITTED:
            raise Refused(f"snapshot {key} is not active")
        if REF not in snapshot.labels:
            self._require(parents)
        return self._layers.mounts(snapshot, parents)

    def commit(self, request: Committing) -> None:
        """Raises `AlreadyExists`, `NotFound`, `Refused`, `StorageError` as `Records.commit`."""
        snapshot = self._records.get(request.key)
        used = self._layers.usage(snapshot) if snapshot.kind is Kind.ACTIVE else Usage()
        with self._records.changing():
            self._records.commit(request.key, request.name, request.labels, used, parent=request.parent)

    def remove(self, key: str) -> None:
        """Forget a snapshot; `cleanup` takes its folder. Raises `NotFound`, `Refused` as `Records.remove`."""
        with self._records.changing():
            self._records.remove(key)

    def cleanup(self) -> None:
        """Remove the folders of snapshots that are no more, and unmount images that no snapshot needs.

        Raises:
            StorageError: the disk does not want to.
        """
        with self._records.changing():
            self._layers.set_stale_aside(self._records.numbers())
            stale = self._layers.stale_images(self._records.images())
        self._layers.sweep()
        self._images.drop(stale)

    def recover(self) -> None:
        """Once, before the first call: what a killed predecessor left behind goes. Raises as `cleanup`."""
        self._images.recover(self._layers.mount_point(image) for image in self._records.images())
        self.cleanup()

    def stat(self, key: str) -> Snapshot:
        """Raises `NotFound`."""
        return self._records.get(key)

    def update(self, request: Updating) -> Snapshot:
        """Raises `NotFound`, `UsageError` as `Records.relabel`."""
        with self._records.changing():
            return self._records.relabel(request.name, request.labels, request.paths)

    def list(self, filters: Iterable[str]) -> tuple[Snapshot, ...]:
        """Parents before their children."""
        return matching(self._records.all(), filters)

    def usage(self, key: str) -> Usage:
        """What it takes of the disk; nothing for a lazy layer. Raises `NotFound`, `StorageError`."""
        snapshot = self._records.get(key)
        return self._layers.usage(snapshot) if snapshot.kind is Kind.ACTIVE else snapshot.usage

    def _prepare_lazily(self, request: Preparing, layer: LazyLayer) -> bool:
        """Whether there is a committed snapshot for the layer, now or before."""
        target = request.labels[REF]
        found = self._records.find_lazy(target, request.parent)
        if found is None:
            if not self._images.is_lazy(layer.image, layer.digest):
                return False
            with self._records.changing():
                found = self._records.find_lazy(target, request.parent) or self._records.add_lazy(
                    target, request.parent, request.labels, layer
                )
                if found.lazy is not None:
                    self._layers.prepare_image(found.lazy.image, [found.lazy])
        for image, place in self._needed([found]):
            self._images.begin(image, place)
        return True

    def _create(self, request: Preparing, kind: Kind) -> tuple[Mount, ...]:
        parents = self._records.chain(request.parent)
        if REF not in request.labels:
            self._require(parents)
        with self._records.changing():
            snapshot = self._records.add(request.key, request.parent, kind, request.labels)
            self._layers.create(snapshot, parents[0] if parents else None)
        return self._layers.mounts(snapshot, parents)

    def _require(self, parents: Sequence[Snapshot]) -> None:
        self._images.require(self._needed(parents), self._ready_seconds)

    def _needed(self, snapshots: Iterable[Snapshot]) -> tuple[tuple[ModelImage, Path], ...]:
        """The images of the lazy ones, and where they are mounted."""
        images = dict.fromkeys(snapshot.lazy.image for snapshot in snapshots if snapshot.lazy is not None)
        return tuple((image, self._layers.mount_point(image)) for image in images)
