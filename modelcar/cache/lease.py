"""A blob in use. While it is leased it is not evicted, and what is missing of it is on its way."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor

__all__ = ["Lasting", "Lease", "Leases", "Purpose"]


class Purpose(IntEnum):
    """Why a blob is fetched; what somebody waits for goes first."""

    PULL = 0
    PEER = 1
    SCAN = 2
    PRECACHE = 3
    MOUNT = 4
    """Only what is read comes; whoever mounts it asks with `PULL` for what is to come before that."""


class Lease(Protocol):
    """A context manager; safe to use from several threads; closing it twice does nothing."""

    grid: Grid

    def available(self, offset: int) -> int:
        """How many bytes from `offset` on may be read now, without a gap.

        Of a blob without a chunk table the last chunk is held back until the digest of the whole was found right.
        """

    def need(self, offset: int, length: int) -> None:
        """Somebody waits for this range: fetch it before others, and read on after it."""

    def when(self, offset: int, length: int) -> Future[None]:
        """Done when the range may be read; fails with the error for the client when it never can be (the blob is
        revoked, the upstream has it not, it is not what its digest says)."""

    def slice(self, offset: int, length: int) -> FileSlice:
        """A range that may be read, as a file for the kernel to send from; valid while the lease is open."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Lasting(Lease, Protocol):
    """A lease for long, during which a blob may come to its end or be taken away."""

    def prefer(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Fetch these `(offset, length)` before what else nobody waits for; they come even if the lease is one for
        which nothing else does."""

    @property
    def present(self) -> int:
        """Bytes that are here, in whole chunks, and may yet be held back."""

    @property
    def lost(self) -> Future[ModelcarError]:
        """Done, with the reason, if nothing may be read of it any more; else never."""


class Leases(Protocol):
    """The cache, for those who only use blobs."""

    def lease(
        self, origin: Origin, descriptor: Descriptor, *, grid: Grid | None = None, purpose: Purpose = Purpose.PULL
    ) -> Lease:
        """As `Cache.lease`."""
