"""Small blobs, read whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from modelcar.cache.lease import Lease, Leases, Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import NotFound, Unreachable
from modelcar.files import ReadAt
from modelcar.oci import Descriptor

__all__ = ["arrival", "content", "reader", "whole"]


def arrival(lease: Lease, seconds: float) -> None:
    """Ask for all of a blob and wait until it is here. Raises what the lease fails with, or `TimeoutError`."""
    lease.need(0, lease.grid.size)
    lease.when(0, lease.grid.size).result(seconds)


@contextmanager
def whole(leases: Leases, origin: Origin, blob: Descriptor, seconds: float) -> Iterator[Lease]:
    """A blob of which all is here, and right. Raises as `Cache.lease` and what it fails with, or `Unreachable` if it
    does not come in so many seconds."""
    with leases.lease(origin, blob, purpose=Purpose.PULL) as lease:
        try:
            arrival(lease, seconds)
        except TimeoutError:
            raise Unreachable(f"{blob.digest} did not come within {seconds:.0f} s") from None
        yield lease


def reader(lease: Lease) -> ReadAt:
    """Reads a blob that is here, as long as it is leased; `NotFound` where it is cut short on disk."""

    def read_at(offset: int, size: int) -> bytes:
        found, size = b"", min(size, max(0, lease.grid.size - offset))
        while len(found) < size:
            piece = lease.slice(offset + len(found), size - len(found))
            data = os.pread(piece.fd, piece.size, piece.offset)
            if not data:
                raise NotFound(f"{lease.grid.digest} is cut short on disk")
            found = found + data if found else data  # nearly always in one piece
        return found

    return read_at


def content(lease: Lease) -> bytes:
    """All of a blob that is here. Raises `NotFound`: it is cut short on disk."""
    return reader(lease)(0, lease.grid.size)
