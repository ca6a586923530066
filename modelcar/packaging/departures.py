"""How the layers of a build leave: while they are hashed, once they are, through this machine only, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.passing import PASSING_AT_ONCE, Passing
from modelcar.packaging.plan import PlannedLayer
from modelcar.packaging.streams import STREAMS_AT_ONCE, Begin, Stream
from modelcar.registry.upload import BlobSource

__all__ = ["Departures"]

_PATIENCE: Final = 0.2  # seconds until whoever waits for a sender looks whether anybody still wants it


@dataclass(frozen=True, slots=True, kw_only=True)
class Departures:
    """Safe to use from several threads.

    Attributes:
        upload, passing, streaming: as of `build_image`.
    """

    upload: Callable[[Descriptor, ByteMap], None] | None
    passing: Passing | None
    streaming: Begin | None
    _streamed: dict[str, Stream] = field(default_factory=dict)  # by the path of a layer's first file
    _abandoned: Event = field(default_factory=Event)

    def begin(self, layer: PlannedLayer, source: BlobSource | None = None) -> Stream | None:
        """A layer is about to be hashed."""
        stream = self.streaming(layer, source) if self.streaming is not None else None
        if stream is not None:
            self._streamed[layer.files[0].path] = stream
        return stream

    def digested(self, packed: PackedLayer) -> None:
        """A layer is hashed. Returns when one that is to pass through has done so: then there is room for the next."""
        stream = self._streamed.get(packed.planned.files[0].path)
        passes = self.passing is not None and self.passing.takes(packed)
        if stream is not None:
            if self.passing is not None and passes:
                while not stream.has_left(_PATIENCE):
                    if self._abandoned.is_set():
                        return
                self.passing.drop(packed)
        elif self.passing is not None and passes:
            self.passing.send(packed)
        elif self.upload is not None:
            self.upload(packed.nameable(), packed.content)

    def abandoned(self, cause: BaseException) -> None:
        """Something went wrong: whoever sends gives up."""
        self._abandoned.set()
        if self.passing is not None:
            self.passing.target.cancel(cause)

    def workers(self, wanted: int | None) -> int | None:
        """How many layers are hashed at once; what waits for the network takes no core."""
        if self.passing is not None:
            return PASSING_AT_ONCE
        return wanted or (max(os.cpu_count() or 1, STREAMS_AT_ONCE) if self.streaming is not None else None)
