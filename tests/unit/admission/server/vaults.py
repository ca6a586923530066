"""A vault in memory, with real optimistic concurrency."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelcar.admission.server.keeping import Kept
from modelcar.errors import ClusterUnreachable, Conflict


class MemoryVault:
    """What replicas share. `before_write` is called before a write is looked at: others may get in there."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.version = 0
        self.bundles: list[bytes] = []
        self.writes = 0
        self.before_write: Callable[[], None] = lambda: None
        self.broken: Exception | None = None
        self.unpublishable = False

    def read(self) -> Kept:
        if self.broken is not None:
            raise self.broken
        return Kept(dict(self.data), str(self.version) if self.version else None)

    def write(self, data: Mapping[str, bytes], version: str | None) -> None:
        self.before_write()
        if version != (str(self.version) if self.version else None):
            raise Conflict("the object has been modified")
        self.data = dict(data)
        self.version += 1
        self.writes += 1

    def publish(self, bundle: bytes) -> None:
        if self.unpublishable:
            raise ClusterUnreachable("the API server takes nothing")
        if not self.bundles or self.bundles[-1] != bundle:
            self.bundles.append(bundle)
