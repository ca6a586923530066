"""How the layers of a build leave: while they are hashed, once they are, through this machine only, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.passing import PASSING_AT_ONCE, Passing
from modelcar.packaging.plan import PlannedLayer
from modelcar.packaging.streams import STREAMS_AT_ONCE, Begin, Stream
from modelcar.registry.upload import BlobSource

__all__ = ["Departures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Departures:
    """Safe to use from several threads.

    Attributes:
        upload, passing, streaming: as of `build_image`.
    """

    upload: Callable[[Descriptor, ByteMap], None] | None
    passing: Passing | None
    streaming: Begin | None
    _streamed: set[str] = field(default_factory=set)

    def begin(self, layer: PlannedLayer, source: BlobSource | None = None) -> Stream | None:
        """A layer is about to be hashed."""
        stream = self.streaming(layer, source) if self.streaming is not None and self.passing is None else None
        if stream is not None:
            self._streamed.add(layer.files[0].path)
        return stream

    def digested(self, packed: PackedLayer) -> None:
        """A layer is hashed."""
        if packed.planned.files[0].path in self._streamed:
            return
        if self.passing is not None and self.passing.takes(packed):
            self.passing.send(packed)
        elif self.upload is not None:
            self.upload(packed.nameable(), packed.content)

    def abandoned(self) -> None:
        """Something went wrong: whoever sends gives up."""
        if self.passing is not None:
            self.passing.target.cancel()

    def workers(self, wanted: int | None) -> int | None:
        """How many layers are hashed at once; what waits for the network takes no core."""
        if self.passing is not None:
            return PASSING_AT_ONCE
        return wanted or (max(os.cpu_count() or 1, STREAMS_AT_ONCE) if self.streaming is not None else None)
