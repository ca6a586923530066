"""Layers that leave while they are hashed: one pass over the data.

A layer may even leave while its file still arrives. What leaves is an upload that is closed by its digest, and that is
handed out only once the file is what was promised and the scan has nothing against it; until then it is nobody's blob.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from modelcar.errors import ModelcarError, WorldError
from modelcar.layers.bytemap import ByteMap, FileRange, FileSlice, Literal
from modelcar.oci import Digest
from modelcar.packaging.plan import PlannedLayer
from modelcar.registry.upload import BlobSource

__all__ = ["STREAMS_AT_ONCE", "Begin", "Departure", "GrowingBytes", "Stream", "departing"]

STREAMS_AT_ONCE: Final = 4
_PATIENCE: Final = 0.2  # seconds until a hasher that waits looks whether anybody still wants it


class Stream(Protocol):
    """A layer on its way. Raises, from all but `abandon`, what its sender has failed with."""

    def hashed(self, n: int) -> None:
        """So many more bytes are hashed, and may leave."""

    def has_room(self, timeout: float) -> bool:
        """Wait until the sender is near enough, at most `timeout` seconds; returns whether it is."""

    def finish(self, digest: Digest) -> None:
        """All is hashed."""

    def abandon(self, *, for_good: bool = False) -> None:
        """There will be no digest, nor later if `for_good`. Does nothing after `finish`."""

    def has_left(self, timeout: float) -> bool:
        """Wait until the sender has no more use for the bytes, at most `timeout` seconds; returns whether it has
        none."""


class Begin(Protocol):
    """Sends a layer that is about to be hashed; `None` where it is better to know the digest before.

    `source` reads it where its file is on the move; it gives what has been hashed, and no more is asked of it.
    """

    def __call__(self, layer: PlannedLayer, source: BlobSource | None = None) -> Stream | None: ...


class Departure:
    """How one layer leaves while it is hashed, if it does."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._stream: Stream | None = None

    def start(self, layer: PlannedLayer, source: BlobSource | None = None) -> None:
        """The layer is about to be hashed."""
        self._stream = self._begin(layer, source)

    def told(self, step: Callable[[int], None]) -> Callable[[int], None]:
        """`step`, after which the stream is told, too; it holds the hasher back while the sender is far behind."""
        stream = self._stream
        if stream is None:
            return step

        def advance(n: int) -> None:
            step(n)
            stream.hashed(n)
            while not stream.has_room(_PATIENCE):
                step(0)  # raises where nobody wants it any more

        return advance

    def finish(self, digest: Digest) -> None:
        """All is hashed, and well."""
        if self._stream is not None:
            self._stream.finish(digest)

    def abandon(self, *, for_good: bool) -> None:
        """It leaves no further; what has left is of no use to a later try if `for_good`."""
        if self._stream is not None:
            self._stream.abandon(for_good=for_good)


@contextmanager
def departing(begin: Begin) -> Iterator[Departure]:
    """One layer's; it is abandoned with the block unless it was finished before.

    A network or a disk that fails may do better the next time, and what has left by then need not leave again. What
    was found to be wrong or harmful is not for later.
    """
    departure = Departure(begin)
    try:
        yield departure
    except ModelcarError as e:
        departure.abandon(for_good=not isinstance(e, WorldError))
        raise
    finally:
        departure.abandon(for_good=False)


class GrowingBytes:
    """A `BlobSource` of a layer with one file that still arrives, and is called otherwise once it has.

    It goes by the open file, which is closed when nobody has any more use for this.
    """

    def __init__(self, content: ByteMap, path: Path) -> None:
        self._content, self._path = content, path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)

    def __call__(self, offset: int, length: int) -> Iterator[bytes | FileSlice]:
        for segment in self._content.segments(offset, length):
            if isinstance(segment, FileRange):
                yield FileSlice(path=self._path, fd=self._fd, offset=segment.offset, size=segment.size)
            elif isinstance(segment, Literal):
                yield segment.data
            else:
                yield bytes(segment.size)  # the padding and the trailer of a tar: 10 KiB at the very most
