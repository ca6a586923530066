"""Where chunks come from: an upstream registry, a peer, a mirror, a recipe. One door for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

from modelcar.lazy.grid import Grid

__all__ = ["ByteStream", "ChunkSource", "Outcome", "Router", "SourceKind", "is_serial"]


class SourceKind(StrEnum):
    """What bytes are counted under."""

    UPSTREAM = "upstream"
    PEER = "peer"
    MIRROR = "mirror"


class Outcome(StrEnum):
    """How a fetch went, for whoever chooses sources."""

    DONE = "done"
    MISSING = "missing"
    """The source does not have it (a peer that has not fetched it yet)."""
    WRONG = "wrong"
    """It sent bytes that are not these."""
    SLOW = "slow"
    """It was abandoned: others do better."""
    BROKEN = "broken"
    """It refused, or the connection broke."""


class ByteStream(Protocol):
    """Bytes in order, as they arrive."""

    def read(self, n: int, /) -> bytes:
        """Up to `n` bytes as soon as some are there; `b""` only at the end. Raises `WorldError` where it breaks."""

    def close(self) -> None:
        """From any thread: a `read` that waits ends with an error."""


class ChunkSource(Protocol):
    """A place that may have a blob. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """For people and metrics: "ghcr.io", "10.0.0.7:5443". No secret."""

    @property
    def kind(self) -> SourceKind: ...

    def fetch(self, grid: Grid, offset: int, length: int) -> AbstractContextManager[ByteStream]:
        """A stream of exactly `[offset, offset + length)` of the blob. Nothing is verified: the receiver does that.

        Raises:
            RemoteNotFound: it does not have the blob, or these chunks, and is not going to fetch them.
            RegistryError: it refuses, or cannot be reached.
        """


def is_serial(source: ChunkSource) -> bool:
    """Whether a source has turned out to answer no ranges (`serial`): it is asked once, for all that is missing, since
    what lies before a range is sent as well."""
    return bool(getattr(source, "serial", False))


class Router(Protocol):
    """Decides who is asked for which chunk. One a node; blobs come and go."""

    def background(self, grid: Grid) -> Iterable[int]:
        """Every chunk once, in the order in which they are fetched while nobody waits for one of them."""

    def candidates(self, grid: Grid, number: int) -> Sequence[ChunkSource]:
        """Whom to ask for a chunk, the best first; the last resort comes last. Never empty.

        Quick, and without waiting for a lock that is held during a `report`: all transfers wait for the answer.
        """

    def is_at_hand(self, grid: Grid, number: int) -> bool:
        """Whether the best candidate sends a chunk at once, as far as is known; else it has yet to get it itself.

        As quick as `candidates`.
        """

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        """How a fetch of `size` bytes went, which flowed for so many seconds; from any thread."""
