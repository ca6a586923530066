"""Layers that leave while they are hashed: one pass over the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from modelcar.oci import Digest
from modelcar.packaging.plan import PlannedLayer

__all__ = ["STREAMS_AT_ONCE", "Begin", "Stream", "told"]

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

    def abandon(self) -> None:
        """There will be no digest. Does nothing after `finish`."""


Begin = Callable[[PlannedLayer], Stream | None]
"""Sends a layer that is about to be hashed; `None` where it is better to know the digest before."""


def told(stream: Stream | None, step: Callable[[int], None]) -> Callable[[int], None]:
    """`step`, after which the stream is told, too; it holds the hasher back while the sender is far behind."""
    if stream is None:
        return step

    def advance(n: int) -> None:
        step(n)
        stream.hashed(n)
        while not stream.has_room(_PATIENCE):
            step(0)  # raises where nobody wants it any more

    return advance
