"""Images on their way to a plan: what has to be here before they can be mounted, and how much of it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from modelcar.errors import NotFound
from modelcar.layers.index import ModelIndex
from modelcar.mounts.plans import Reading
from modelcar.mounts.records import MountRecord
from modelcar.oci import Descriptor, Manifest
from modelcar.packaging.inspect import index_layer_of

__all__ = ["Preparing", "needed_first"]


def needed_first(manifest: Manifest) -> tuple[Descriptor, ...]:
    """The layers that are fetched before an image is mounted: the one with its index, or all."""
    index = index_layer_of(manifest)
    return (index,) if index is not None else tuple({layer.digest: layer for layer in manifest.layers}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    record: MountRecord
    reference: str
    layers: tuple[Descriptor, ...]


class Preparing:
    """Safe to use from several threads.

    Args:
        present: how many bytes of a blob are here.
    """

    def __init__(self, present: Callable[[Descriptor], int]) -> None:
        self._present = present
        self._lock = threading.Lock()
        self._mounts: dict[str, _Prepared] = {}

    @contextmanager
    def image(
        self, record: MountRecord, reference: str, manifest: Manifest, reading: Reading
    ) -> Iterator[_StoppableReading]:
        """While a plan is made of an image: what to read it by. After `stop` that raises `NotFound`."""
        prepared = _Prepared(record=record, reference=reference, layers=needed_first(manifest))
        with self._lock:
            self._mounts[record.id] = prepared

        def check() -> None:
            with self._lock:
                if self._mounts.get(record.id) is not prepared:
                    raise NotFound(f"the mount {record.id} is over")

        try:
            yield _StoppableReading(reading, check)
        finally:
            self.stop(record.id)

    def stop(self, mount: str) -> None:
        """Nobody wants it any more: at most one more layer is fetched for it."""
        with self._lock:
            self._mounts.pop(mount, None)

    def to_dict(self) -> dict[str, Any]:
        with self._lock:
            mounts = list(self._mounts.values())
        return {"mounts": [self._describe(mount) for mount in mounts]}

    def _describe(self, mount: _Prepared) -> dict[str, Any]:
        layers = [
            {"digest": str(layer.digest), "size": layer.size, "present": min(self._present(layer), layer.size)}
            for layer in mount.layers
        ]
        return {
            "id": mount.record.id,
            "target": str(mount.record.target),
            "reference": mount.reference,
            "layers": layers,
        }


class _StoppableReading:
    """A `Reading` that ends when nobody wants it any more."""

    def __init__(self, reading: Reading, check: Callable[[], None]) -> None:
        self._reading, self.check = reading, check

    def index(self, layer: Descriptor) -> ModelIndex:
        self.check()
        return self._reading.index(layer)

    def layer(self, layer: Descriptor) -> AbstractContextManager[BinaryIO]:
        self.check()
        return self._reading.layer(layer)
