"""Small blobs, read whole."""

from __future__ import annotations

import os

from modelcar.errors import NotFound
from modelcar.files import ReadAt
from registry_shim.cache.lease import Lease

__all__ = ["arrival", "content", "reader"]


def arrival(lease: Lease, seconds: float) -> None:
    """Ask for all of a blob and wait until it is here. Raises what the lease fails with, or `TimeoutError`."""
    lease.need(0, lease.grid.size)
    lease.when(0, lease.grid.size).result(seconds)


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
