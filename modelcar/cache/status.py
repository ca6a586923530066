"""What the cache is doing, for people and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from modelcar.cache.holding import Arriving, Holding
from modelcar.lazy.transfer import State
from modelcar.oci import Digest

__all__ = ["BlobState", "BlobStatus", "describe"]


class BlobState(StrEnum):
    ARRIVING = "arriving"
    PARKED = "parked"
    """Some of it is here, and nobody asks for the rest at the moment."""
    FAILED = "failed"
    """What is missing could not be had; the next one who asks tries again."""
    WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobStatus:
    """A blob in use, or on its way.

    Attributes:
        grid: the name of its grid, or `plain`.
        size, present: bytes in all, and those that are here.
        chunks: one byte a chunk: 0 if it is missing, 1 if it was here before, 2 if it came from an upstream, 3 from a
            mirror, 4 from a peer; empty for whole blobs.
        rate: bytes a second that arrive.
        sources: bytes by the name of who sent them.
        streams, waiting, leases: connections that fetch it, ranges that somebody waits for, and who uses it.
        purpose: the most urgent one for which it is fetched.
        origins: the repositories from which it may be fetched.
        error: why it failed.
    """

    digest: Digest
    grid: str
    size: int
    present: int
    state: BlobState
    leases: int
    chunks: bytes = b""
    rate: float = 0.0
    streams: int = 0
    waiting: int = 0
    purpose: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    error: str | None = None


_STATES: Final = {
    State.RUNNING: BlobState.ARRIVING,
    State.DONE: BlobState.WHOLE,
    State.STOPPED: BlobState.PARKED,
    State.FAILED: BlobState.FAILED,
}


def describe(holding: Holding, loans: int) -> BlobStatus:
    """A holding that is used by so many."""
    grid = holding.grid
    if not isinstance(holding, Arriving):
        return BlobStatus(
            digest=grid.digest, grid=grid.name, size=grid.size, present=grid.size, state=BlobState.WHOLE, leases=loans
        )
    transfer = holding.transfer.status()
    return BlobStatus(
        digest=grid.digest,
        grid=grid.name,
        size=grid.size,
        present=holding.partial.present,
        state=_STATES[transfer.state],
        leases=loans,
        chunks=holding.transfer.map(),
        rate=transfer.rate,
        streams=transfer.streams,
        waiting=transfer.waiting,
        purpose=transfer.priority,
        sources=transfer.sources,
        origins=tuple(o.name for o in holding.origins.known()),
        error=str(transfer.error) if transfer.error else None,
    )
