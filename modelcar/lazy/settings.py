"""How a node fetches: what a person or configuration may choose."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.errors import UsageError
from modelcar.layers.hashing import CHUNK_SIZE

__all__ = ["FetchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """Times are seconds, sizes bytes, rates bytes a second.

    Attributes:
        upstream_streams: connections that fetch from upstreams and mirrors at once, for all blobs together; a quarter
            of them is left to other sources than the busiest.
        peer_streams: connections that fetch from peers at once.
        urgent_streams: how many more of each kind may be opened for what somebody waits for.
        blob_streams: connections of each kind for one blob.
        window: how much one request to an upstream asks for; a broken or slow one loses no more than a chunk of it.
        peer_window: how much one request to a peer asks for.
        read_ahead: how much after the place that a reader has reached is fetched before the rest.
        rate: of all streams together; `None` is no limit.
        stall: a stream that brings nothing for so long is given up.
        peer_stall: likewise, before a peer's first byte: it may have to fetch the chunk itself.
        straggler_after: how old a stream is before it is compared with its siblings.
        straggler_share: a stream with less than this share of its siblings' rate is given up.
        hedge_after: how long a chunk that somebody waits for takes at least, before somebody else is asked as well.
        attempts: how often in a row a source may fail before it counts as gone.
        backoff: how long a source rests after its first failure; doubled for each further one, with jitter.
        backoff_limit: how long it rests at most.
    """

    upstream_streams: int = 10
    peer_streams: int = 8
    urgent_streams: int = 4
    blob_streams: int = 8
    window: int = 32 << 20
    peer_window: int = CHUNK_SIZE
    read_ahead: int = 64 << 20
    rate: float | None = None
    stall: float = 15.0
    peer_stall: float = 120.0
    straggler_after: float = 4.0
    straggler_share: float = 0.2
    hedge_after: float = 1.0
    attempts: int = 5
    backoff: float = 0.5
    backoff_limit: float = 30.0

    def __post_init__(self) -> None:
        for name in ("upstream_streams", "peer_streams", "blob_streams", "attempts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1")
        for name in ("window", "peer_window"):
            if getattr(self, name) < CHUNK_SIZE:
                raise UsageError(f"{name} must be at least {CHUNK_SIZE} bytes, the size of a chunk")
        for name in (
            "urgent_streams",
            "read_ahead",
            "stall",
            "peer_stall",
            "straggler_after",
            "hedge_after",
            "backoff",
        ):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative")
        if not 0 <= self.straggler_share < 1:
            raise UsageError("straggler_share must be at least 0 and less than 1")
        if self.rate is not None and self.rate < 0:
            raise UsageError("rate must not be negative")
